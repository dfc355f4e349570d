/* SPDX-License-Identifier: BSD-3-Clause */
/* device_double.h - what the test double of the kernel helper's device does beyond kdev/device.h. */
#ifndef DEVICE_DOUBLE_H
#define DEVICE_DOUBLE_H

/* Let one copy in so many be refused, or complete with an errno after which a core makes it. 0: none. */
void test_device_trouble(unsigned int one_in);

#endif
