// How the system schedules this process.
#define _GNU_SOURCE
#include "af.h"

#if defined(__linux__)
#include <dirent.h>
#include <sched.h>
#include <stdlib.h>

// Makes every thread of normal priority one of batch work; says how many were not yet.
static int make_batch(void) {
	DIR *tasks = opendir("/proc/self/task");
	if (!tasks) return 0;
	int made = 0;
	for (struct dirent *e; (e = readdir(tasks));) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
		struct sched_param p = {0};
		if (tid > 0 && sched_getscheduler(tid) == SCHED_OTHER && sched_setscheduler(tid, SCHED_BATCH, &p) == 0) made++;
	}
	closedir(tasks);
	return made;
}

int af_batch(void) {
	// A thread inherits its maker's policy: what was made meanwhile is found by looking again.
	int all = 0;
	for (int i = 0, made = 1; i < 4 && made; i++) all += made = make_batch();
	return all;
}
#else
int af_batch(void) { return 0; }
#endif
