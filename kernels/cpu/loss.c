// The objective of one target (kernels/ref/loss.go is its reference; names as in flow/doc.go), in f64: there are few targets.
#include "af.h"

#include <math.h>

static double clamp(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

void af_loss(const af_loss_params *p, int64_t n, const int32_t *index, const double *weight, const double *advantage, const float *lo,
             const float *lr, const float *ls, const float *lp, const float *entropy, float *dlp, af_loss_sums *sums) {
	for (int64_t i = 0; i < n; i++) {
		int64_t k = index[i];
		double a = advantage[k], wt = weight[k], raw = (double)lp[i] - lo[k], d = clamp(raw, -20, 20), rho = exp(d);
		double low = 1 - p->clip_low, high = 1 + p->clip_high, plain = -rho * a, cut = -clamp(rho, low, high) * a;
		// The unclipped branch counts at equality; beyond the clamp of d nothing moves. A NaN is neither below nor beyond: it shows.
		int open = !(plain < cut);
		double policy = open ? plain : cut;
		if (p->dual_clip > 0 && a < 0 && policy > -p->dual_clip * a) {
			policy = -p->dual_clip * a;
			open = 0;
		}
		double g = open && !(fabs(raw) >= 20) ? -a * rho : 0;
		double xr = (double)lr[k] - lp[i], x = clamp(xr, -20, 20), kl, gkl;
		int moves = !(fabs(xr) >= 20);
		switch (p->kl_estimator) {
		case AF_K1: // in the reward: only reported
			kl = -x;
			gkl = 0;
			break;
		case AF_K2:
			kl = x * x / 2;
			gkl = moves ? -x : 0;
			break;
		default:
			kl = expm1(x) - x;
			gkl = moves ? -expm1(x) : 0;
		}
		int known = ls && !isnan(ls[k]);
		double gap = known ? (double)lo[k] - ls[k] : 0, w = 1;
		if (p->tis_cap > 0) w = known ? fmin(exp(clamp(gap, -20, 20)), p->tis_cap) : NAN;
		dlp[i] = (float)(wt * (w * g + (p->kl != 0 ? p->kl * gkl : 0)));
		sums->policy += wt * w * policy;
		sums->kl += wt * kl;
		sums->entropy += wt * entropy[i];
		sums->ratio += rho;
		sums->clip_low += rho < low && a < 0;
		sums->clip_high += rho > high && a > 0;
		if (rho > sums->ratio_max || isnan(rho)) sums->ratio_max = rho;
		if (known) {
			sums->mismatch += gap;
			sums->mismatch_k3 += expm1(gap) - gap;
			sums->mismatch_count += 1;
			if (fabs(gap) > sums->mismatch_max || isnan(gap)) sums->mismatch_max = fabs(gap);
		}
		sums->count += 1;
	}
}
