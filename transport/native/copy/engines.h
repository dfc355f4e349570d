/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engines.h - which engine is in use: starting it when it is needed, stopping it, and forks.
 *
 * The mutex `control` is held while an engine is started or stopped. It is taken before the
 * engine lock.
 */
#ifndef ADMA_COPY_ENGINES_H
#define ADMA_COPY_ENGINES_H

#include "copy/engine.h"

/*
 * The engine in use. It is started if none is. Called with the engine lock held, which may be
 * dropped meanwhile. Never returns NULL, because the engine `caller` always starts.
 */
const struct adma_engine *adma_engine_ready(void);

/*
 * The engine in use if its workers can assist, else NULL. It is started if none is, unless that
 * would have to wait. Called with the engine lock held.
 */
const struct adma_engine *adma_engine_to_assist(void);

/*
 * For a fork: adma_engine_hold() before it sees to it that no other thread starts or stops an
 * engine, and adma_engine_let_go() ends that in the parent. adma_engine_forked() is called in the
 * child, instead, with the engine lock held as well. Copies that the parent had outstanding are
 * the parent's to make: in the child, waiting for one is an error. An engine is started in the
 * child when it is needed.
 */
void adma_engine_hold(void);
void adma_engine_let_go(void);
void adma_engine_forked(void);

#endif
