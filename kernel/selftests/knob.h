/* SPDX-License-Identifier: BSD-3-Clause */
/* knob.h - files of the kernel's that take a value. */
#ifndef KNOB_H
#define KNOB_H

#include <stdbool.h>

/* Write @value to the file. False: that did not go. */
bool knob(const char *path, const char *value);

#endif
