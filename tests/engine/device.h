/* SPDX-License-Identifier: BSD-3-Clause */
/* device.h - what the stand-in for the kernel helper's device does, beyond transport/native/device.h. */
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

/* Copies that are refused, or ended with an errno that the CPU may mend: one in so many. 0: none. */
void test_device_trouble(unsigned int one_in);

#endif
