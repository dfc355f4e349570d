/* SPDX-License-Identifier: GPL-2.0 */
/* post.h - posts requests, and starts the transfer of those that match. */
#ifndef ADMA_POST_H
#define ADMA_POST_H

struct adma_copy;
struct adma_endpoint;
struct adma_post;

/* The commands, with current as the poster. Errors as in the UAPI header. */
int adma_post_message(struct adma_endpoint *endpoint, const struct adma_post *post);
int adma_post_copy(struct adma_endpoint *endpoint, const struct adma_copy *copy);

#endif
