/* SPDX-License-Identifier: BSD-3-Clause */
/* knob.h - writes to files of the kernel that take a value. */
#ifndef KNOB_H
#define KNOB_H

#include <stdbool.h>

/* Write @value to the file. False: that failed. */
bool knob(const char *path, const char *value);

#endif
