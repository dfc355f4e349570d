/* SPDX-License-Identifier: GPL-2.0 */
/* command.h - ioctl() on an endpoint: one function for each command of the UAPI header. */
#ifndef ADMA_COMMAND_H
#define ADMA_COMMAND_H

struct file;

long adma_command(struct file *file, unsigned int command, unsigned long argument);

#endif
