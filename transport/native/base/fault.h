/* SPDX-License-Identifier: BSD-3-Clause */
/* fault.h - how the core passes a fault point. adma_fault.h tells what fault points are for. */
#ifndef ADMA_BASE_FAULT_H
#define ADMA_BASE_FAULT_H

#include "adma_fault.h"

/* ADMA_FAULT(point) is 0, or a positive errno that the caller has to fail with. */
#ifdef ADMA_FAULTS
int adma_fault_pass(int point);
#define ADMA_FAULT(point) adma_fault_pass(point)
#else
#define ADMA_FAULT(point) 0
#endif

#endif
