// Threads that sleep between operations: a short spin, then a futex. The caller works too, as thread 0.
#define _GNU_SOURCE
#include "pool.h"
#include "products.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

// A thread polls this often before it sleeps, for 100 to 250 us: the gap between two operations of a small model, or what one thread's last task takes
// longer than another's. To wake a sleeping processor costs a virtual machine more.
enum { SPIN = 8000 };

// The tasks that a thread begins with, the next one in the lower half and the end in the upper one: an addition takes a task and tells whether there
// was one. Whoever is done takes those of others.
struct share {
	_Alignas(64) _Atomic uint64_t left;
};

struct af_pool {
	_Atomic uint32_t epoch; // any change starts the workers
	_Atomic uint32_t due;   // tasks that are not done
	_Atomic uint32_t sleeping; // how many wait in the kernel for either: none needs a call to wake it while it polls
	_Atomic int stop;
	struct share *shares; // one per thread
	float *rooms;         // one per thread
	size_t room_bytes;
	af_task task;
	void *arg;
	int workers;
	pthread_t *thread;
};

_Thread_local float *af_room;

struct start {
	struct af_pool *p;
	int id;
};

static void relax(void) {
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void wait_while(struct af_pool *p, _Atomic uint32_t *w, uint32_t old) {
	for (int i = 0; i < SPIN; i++) {
		if (atomic_load_explicit(w, memory_order_acquire) != old) return;
		relax();
	}
	// Sleepers count themselves before the kernel compares *w, wakers change *w before they read the count: one of them sees the other.
	atomic_fetch_add(&p->sleeping, 1);
	while (atomic_load(w) == old) {
#if defined(__linux__)
		syscall(SYS_futex, w, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
#else
		usleep(50);
#endif
	}
	atomic_fetch_sub(&p->sleeping, 1);
}

static void wake(struct af_pool *p, _Atomic uint32_t *w, int n) {
	if (atomic_load(&p->sleeping) == 0) return;
#if defined(__linux__)
	syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
#else
	(void)w;
	(void)n;
#endif
}

// An operation ends when its tasks are done, whether or not every worker came: one that others keep from its processor would be waited for. It may come
// during a later operation, so that only a task that it took says which one it works for.
static void work(struct af_pool *p, int id) {
	uint32_t did = 0;
	for (int k = 0; k <= p->workers; k++) {
		struct share *s = &p->shares[(id + k) % (p->workers + 1)];
		uint64_t got;
		for (; got = atomic_fetch_add_explicit(&s->left, 1, memory_order_acquire), (uint32_t)got < got >> 32; did++) p->task(p->arg, (uint32_t)got, id);
	}
	if (did && atomic_fetch_sub(&p->due, did) == did) wake(p, &p->due, 1);
}

static void *worker(void *arg) {
	struct start s = *(struct start *)arg;
	free(arg);
	af_room = s.p->rooms + (size_t)s.id * AF_ROOM;
	uint32_t seen = 0;
	for (;;) {
		wait_while(s.p, &s.p->epoch, seen);
		seen = atomic_load_explicit(&s.p->epoch, memory_order_acquire);
		if (atomic_load(&s.p->stop)) return NULL;
		work(s.p, s.id);
	}
}

void af_run(af_ctx *c, int64_t n, af_task task, void *arg) {
	struct af_pool *p = c->pool;
	af_room = p->rooms;
	if (n <= 1 || p->workers == 0) {
		for (int64_t i = 0; i < n; i++) task(arg, i, 0);
		return;
	}
	p->task = task;
	p->arg = arg;
	atomic_store_explicit(&p->due, (uint32_t)n, memory_order_relaxed);
	for (int64_t k = 0, all = p->workers + 1; k < all; k++)
		atomic_store_explicit(&p->shares[k].left, (uint64_t)(n * (k + 1) / all) << 32 | (uint64_t)(n * k / all), memory_order_release);
	atomic_fetch_add(&p->epoch, 1);
	wake(p, &p->epoch, p->workers);
	work(p, 0);
	uint32_t left;
	while ((left = atomic_load_explicit(&p->due, memory_order_acquire)) != 0) wait_while(p, &p->due, left);
}

static void pool_free(struct af_pool *p) {
	if (!p) return;
	atomic_store(&p->stop, 1);
	atomic_fetch_add(&p->epoch, 1);
	wake(p, &p->epoch, p->workers);
	for (int i = 0; i < p->workers; i++) pthread_join(p->thread[i], NULL);
	af_release(p->rooms, p->room_bytes);
	free(p->shares);
	free(p->thread);
	free(p);
}

static struct af_pool *pool_new(int threads) {
	struct af_pool *p = calloc(1, sizeof *p);
	if (!p) return NULL;
	p->thread = calloc(threads, sizeof *p->thread);
	p->shares = aligned_alloc(_Alignof(struct share), (size_t)threads * sizeof *p->shares);
	p->room_bytes = (size_t)threads * AF_ROOM * sizeof *p->rooms;
	p->rooms = af_alloc(p->room_bytes);
	if (!p->thread || !p->shares || !p->rooms) {
		pool_free(p);
		return NULL;
	}
	for (int i = 1; i < threads; i++) {
		struct start *s = malloc(sizeof *s);
		if (s) *s = (struct start){p, i};
		if (!s || pthread_create(&p->thread[p->workers], NULL, worker, s)) {
			free(s);
			pool_free(p);
			return NULL;
		}
		p->workers++;
	}
	return p;
}

af_ctx *af_new(int threads, int level) {
	af_ctx *c = calloc(1, sizeof *c);
	if (!c) return NULL;
	int highest = af_highest_level();
	c->threads = threads < 1 ? 1 : threads;
	c->level = level < 0 ? af_best_level() : level < highest ? level : highest;
	c->fn = af_table_of(c->level);
	c->scratch = calloc(c->threads, sizeof *c->scratch);
	c->pool = pool_new(c->threads);
	if (!c->scratch || !c->pool) {
		af_free(c);
		return NULL;
	}
	return c;
}

void af_free(af_ctx *c) {
	if (!c) return;
	pool_free(c->pool);
	af_products_free(c);
	for (int i = 0; c->scratch && i < c->threads; i++) af_release(c->scratch[i].p, c->scratch[i].bytes);
	af_release(c->shared.p, c->shared.bytes);
	af_release(c->turned.p, c->turned.bytes);
	free(c->scratch);
	free(c);
}

void af_use_products(af_ctx *c, int which) { c->use_products = which; }
int af_level(const af_ctx *c) { return c->level; }
int af_threads(const af_ctx *c) { return c->threads; }

// Blocks from 1 MiB on are mapped by themselves: they start zeroed, may use huge pages and go back to the system when freed.
enum { MAPPED = 1 << 20 };

void *af_alloc(size_t bytes) {
	if (bytes == 0) bytes = 64;
	if (bytes < MAPPED) {
		void *p = NULL;
		bytes = (bytes + 63) & ~(size_t)63;
		if (posix_memalign(&p, 64, bytes)) return NULL;
		return memset(p, 0, bytes);
	}
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
	madvise(p, bytes, MADV_HUGEPAGE);
#endif
	return p;
}

void af_release(void *p, size_t bytes) {
	if (!p) return;
	if (bytes < MAPPED)
		free(p);
	else
		munmap(p, bytes);
}

void *af_scratch_get(struct af_scratch *s, size_t bytes) {
	if (s->bytes >= bytes && s->p) return s->p;
	size_t want = bytes + bytes / 4;
	void *p = af_alloc(want);
	if (!p) return NULL;
	af_release(s->p, s->bytes);
	*s = (struct af_scratch){p, want};
	return p;
}

int af_scratch_all(af_ctx *c, size_t bytes) {
	for (int i = 0; i < c->threads; i++)
		if (!af_scratch_get(&c->scratch[i], bytes)) return AF_NOMEM;
	return AF_OK;
}
