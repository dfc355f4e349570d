/* SPDX-License-Identifier: BSD-3-Clause */
/* test_holds.c - the list of what is complete and was not seen: listed, told, told again, taken off. */
#include "base/holds.h"
#include "require.h"

static int told, answer;

static int tell(void)
{
	told++;
	return answer;
}

static void begin(struct adma_hold *hold)
{
	adma_hold_init(hold);
	adma_hold_want(hold);
}

static void test_nobody_to_tell(void)
{
	struct adma_hold hold;

	begin(&hold);
	adma_hold_complete(&hold);
	REQUIRE(!adma_holds_any() && !adma_holds_first());
	adma_holds_tell();
	REQUIRE(!told);
}

static void test_in_order(void)
{
	struct adma_hold a, b, unwanted;

	begin(&a);
	begin(&b);
	adma_hold_init(&unwanted);
	adma_hold_complete(&unwanted);
	REQUIRE(!adma_holds_any());
	adma_hold_complete(&a);
	adma_hold_complete(&b);
	REQUIRE(adma_holds_any() && adma_holds_first() == &a);
	adma_holds_tell();
	adma_holds_tell();
	REQUIRE(told == 1); /* nothing was listed since */
	adma_holds_remove(&a);
	adma_holds_remove(&a); /* twice does no harm */
	REQUIRE(adma_holds_first() == &b);
	adma_holds_remove(&b);
	REQUIRE(!adma_holds_any() && !adma_holds_first());
}

static void test_told_again(void)
{
	struct adma_hold hold;

	told = 0;
	answer = -1;
	begin(&hold);
	REQUIRE(adma_holds_limit(-1) == -1);
	adma_hold_complete(&hold);
	adma_holds_tell();
	REQUIRE(told == 1 && adma_holds_limit(-1) == ADMA_HOLDS_RETRY_NS && adma_holds_limit(1) == 1);
	answer = 0;
	adma_holds_tell();
	REQUIRE(told == 2 && adma_holds_limit(-1) == -1);
	answer = -1;
	adma_holds_remove(&hold);
	begin(&hold);
	adma_hold_complete(&hold);
	adma_holds_tell();
	adma_holds_remove(&hold); /* somebody saw it: there is nothing to tell any more */
	adma_holds_tell();
	REQUIRE(told == 3 && adma_holds_limit(-1) == -1);
	answer = 0;
}

static void test_the_end(void)
{
	struct adma_hold early, late;

	told = 0;
	begin(&early);
	begin(&late);
	adma_hold_complete(&early);
	adma_holds_tell_by(NULL);
	adma_hold_complete(&late);
	adma_holds_tell();
	REQUIRE(!told && !adma_holds_any() && !early.listed && !late.listed);
	adma_holds_remove(&early);
}

static void test_a_fork(void)
{
	struct adma_hold parents;

	adma_holds_tell_by(tell);
	begin(&parents);
	adma_hold_complete(&parents);
	adma_holds_before_fork();
	adma_holds_after_fork_parent();
	REQUIRE(adma_holds_first() == &parents);
	adma_holds_before_fork();
	adma_holds_after_fork_child();
	REQUIRE(!adma_holds_any() && !parents.listed);
}

int main(void)
{
	test_nobody_to_tell();
	adma_holds_tell_by(tell);
	test_in_order();
	test_told_again();
	test_the_end();
	test_a_fork();
	puts("holds: what is complete is listed, told once and again, and taken off");
	return 0;
}
