/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tso.pml - shared memory as an x86 core sees it.
 *
 * A plain store waits in the buffer of its thread. Stores leave the buffer in order, and each
 * reaches memory at a moment that the machine chooses. A load looks into the thread's own buffer
 * first, newest entry first, and then into memory. A read-modify-write waits until the thread's
 * buffer is empty, and acts on memory at once. Without STORE_BUFFERS every store is visible
 * immediately: that is the sequentially consistent world, which hides the errors that the models
 * look for.
 *
 * The file that includes this one defines WORDS and BUFFERED, the number of threads that have a
 * buffer (their ids are 0 .. BUFFERED - 1), and runs memory(id) for each of them.
 */

byte mem[WORDS];

#ifdef STORE_BUFFERS

#define DEPTH 6 /* stores that can wait at once; no thread of these models has more under way */

typedef storebuffer {
	byte n;
	byte at[DEPTH];
	byte value[DEPTH]
};
storebuffer buffer[BUFFERED];

#define DRAINED(t) (buffer[t].n == 0)

/* The thread's newest store to w from entry i downwards, or else what is below. */
#define NEWEST(t, w, i, below) \
	(buffer[t].n > i && buffer[t].at[i] == (w) -> buffer[t].value[i] : below)
#define LOAD(t, w) \
	NEWEST(t, w, 5, NEWEST(t, w, 4, NEWEST(t, w, 3, \
	NEWEST(t, w, 2, NEWEST(t, w, 1, NEWEST(t, w, 0, mem[w]))))))

inline store(t, w, v)
{
	d_step {
		buffer[t].n < DEPTH ->
		buffer[t].at[buffer[t].n] = w;
		buffer[t].value[buffer[t].n] = v;
		buffer[t].n++
	}
}

/* The oldest store becomes visible. Free entries are zero, so that equal states look equal. */
proctype memory(byte t)
{
	byte i;

end:
	do
	:: d_step {
		buffer[t].n > 0 ->
		mem[buffer[t].at[0]] = buffer[t].value[0];
		buffer[t].n--;
		i = 0;
		do
		:: i < buffer[t].n ->
			buffer[t].at[i] = buffer[t].at[i + 1];
			buffer[t].value[i] = buffer[t].value[i + 1];
			i++
		:: else -> break
		od;
		buffer[t].at[i] = 0;
		buffer[t].value[i] = 0;
		i = 0
	   }
	od
}

#else

#define DRAINED(t) (true)
#define LOAD(t, w) mem[w]

inline store(t, w, v)
{
	mem[w] = v
}

proctype memory(byte t)
{
	skip
}

#endif
