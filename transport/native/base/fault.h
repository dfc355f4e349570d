/* SPDX-License-Identifier: BSD-3-Clause */
/* fault.h - how the core passes its fault points; adma_fault.h tells what they are for. */
#ifndef ADMA_BASE_FAULT_H
#define ADMA_BASE_FAULT_H

#include "adma_fault.h"

#ifdef ADMA_FAULTS
int adma_fault_pass(int point); /* 0, or a positive errno to fail with */
#define ADMA_FAULT(point) adma_fault_pass(point)
#else
#define ADMA_FAULT(point) 0
#endif

#endif
