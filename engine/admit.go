package engine

import (
	"context"
	"fmt"
	"slices"

	"afctl/kernels"
)

// admit takes in waiting requests as far as there is room, and computes what of their prompts is not in the cache.
func (s *Sampler) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, s.gone)
	if len(s.publish) > 0 {
		if len(s.active) > 0 {
			return nil // first those under way
		}
		for _, f := range s.publish {
			f()
		}
		s.publish = nil
	}
	if s.spoiled && len(s.active) == 0 {
		s.clear()
		s.cleanse()
	}
	taken := 0
	before := len(s.active)
	for _, r := range s.waiting {
		if len(s.active) == s.o.MaxBatch || s.full {
			break
		}
		ok := s.place(r)
		if !ok && len(s.active) > 0 {
			s.full = true
			break
		}
		if !ok { // what is cached of its own prompt may stand in its way
			s.clear()
			ok = s.place(r)
		}
		if !ok {
			taken++
			s.finish(r, fmt.Errorf("sample: %d prompt tokens and %d to generate do not fit the cache of %d (engine.kv_tokens)", len(r.Prompt), r.MaxTokens, s.o.CacheTokens))
			continue
		}
		taken++
		s.active, s.joined = append(s.active, r), true
	}
	s.waiting = slices.Delete(s.waiting, 0, taken)
	s.fresh = s.fresh[:0]
	for _, r := range s.active[before:] {
		s.fresh = r.leaf.due(s.fresh)
	}
	if len(s.fresh) == 0 {
		return nil
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	return s.prefill()
}

// place finds slots for a request: its prompt but the last token in the tree, the last token and what is generated in slots of its own.
func (s *Sampler) place(r *request) bool {
	n := int32(len(r.Prompt)) - 1
	leaf, fresh, ok := s.tree.insert(r.Prompt[:n])
	if !ok {
		return false
	}
	from, start, ok := s.tree.take(int32(r.MaxTokens), n)
	if !ok {
		s.tree.release(leaf)
		if fresh != nil {
			s.tree.remove(fresh)
		}
		return false
	}
	r.leaf, r.from, r.start, r.taken, r.length, r.next = leaf, from, start, int32(r.MaxTokens), 0, r.Prompt[n]
	r.path = append(leaf.whole(r.path[:0], n), kernels.Seg{Slot: start, Len: 1})
	r.out.PolicyVersion, r.out.AdapterHash = s.version, s.hash
	return true
}

// finish hands a request back and frees what it held.
func (s *Sampler) finish(r *request, err error) {
	if r.leaf != nil {
		s.tree.release(r.leaf)
		s.tree.pool.give(r.from, r.start+r.taken)
		r.leaf, s.full = nil, false
		// Its keys may be of weights that overflow. A log-prob would have shown it, but for a prompt that nothing was drawn for yet.
		s.spoiled = s.spoiled || err != nil && (r.ctx.Err() == nil || r.length == 0)
	}
	r.err = err
	close(r.done)
}

// gone finishes a request whose context ended, and reports whether it did.
func (s *Sampler) gone(r *request) bool {
	if r.ctx.Err() == nil {
		return false
	}
	s.finish(r, context.Cause(r.ctx))
	return true
}

// clear gives up all that is cached; no request may be holding on.
func (s *Sampler) clear() {
	s.tree.clear()
	s.full = false
}

// cleanse zeroes values that are not finite: what stands beside the keys of a sequence meets a weight of 0 in its sums. Where the back end cannot,
// the engine is broken, as whoever comes next will hear.
func (s *Sampler) cleanse() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.spoiled = false
	for _, kv := range s.cache {
		if s.e.broken == nil {
			_ = s.e.fail(s.e.b.KVZero(kv))
		}
	}
}

// prefill computes keys and values of the fresh nodes, PrefillTokens rows at a time.
func (s *Sampler) prefill() error {
	s.reset()
	for at := int32(0); len(s.fresh) > 0; {
		n := s.fresh[0]
		k := min(int32(len(n.tokens))-at, int32(s.o.PrefillTokens-len(s.tokens)))
		s.path = append(n.segments(s.path[:0]), kernels.Seg{Slot: n.start, Len: at + k})
		s.p.plan.Add(int(k), s.path)
		for i := at; i < at+k; i++ {
			s.row(n.tokens[i], n.depth+i, n.start+i)
		}
		if at += k; int(at) == len(n.tokens) {
			s.fresh = slices.Delete(s.fresh, 0, 1)
		}
		if len(s.fresh) > 0 && len(s.tokens) < s.o.PrefillTokens {
			at = 0
			continue
		}
		if err := s.run(0); err != nil {
			return err
		}
		s.reset()
		s.drop()
		if len(s.fresh) == 0 || s.fresh[0] != n {
			at = 0
		}
	}
	return nil
}

// drop lets go of requests whose context ended, and of the fresh nodes that then nobody waits for.
func (s *Sampler) drop() {
	s.active = slices.DeleteFunc(s.active, s.gone)
	for i := len(s.fresh) - 1; i >= 0; i-- { // the last in a path first
		if n := s.fresh[i]; n.refs == 0 && len(n.children) == 0 {
			s.tree.remove(n)
			s.fresh = slices.Delete(s.fresh, i, i+1)
		}
	}
}
