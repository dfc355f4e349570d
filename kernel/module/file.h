/* SPDX-License-Identifier: GPL-2.0 */
/* file.h - the file operations of an endpoint. */
#ifndef ADMA_FILE_H
#define ADMA_FILE_H

#include <linux/fs.h>

extern const struct file_operations adma_file_operations;

#endif
