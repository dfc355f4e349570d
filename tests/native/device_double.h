/* SPDX-License-Identifier: BSD-3-Clause */
/* device_double.h - what the stand-in for the kernel helper's device does beyond kdev/device.h. */
#ifndef DEVICE_DOUBLE_H
#define DEVICE_DOUBLE_H

/* Copies that are refused, or ended with an errno that the CPU may mend: one in so many. 0: none. */
void test_device_trouble(unsigned int one_in);

#endif
