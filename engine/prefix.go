package engine

import (
	"afctl/flow"
	"afctl/kernels"
)

// prefixNode is a stretch of tokens whose keys and values are in the cache, in slots of one piece. The path from the root spells a prefix.
type prefixNode struct {
	tokens   []int32
	from     int32 // slots from..start are a gap for parity
	start    int32 // slot of tokens[0]
	depth    int32 // position of tokens[0]
	parent   *prefixNode
	children []*prefixNode // distinct first tokens
	refs     int           // requests whose path ends here
	pending  bool          // its keys and values are still to be computed
	used     uint64        // tick of the last use
}

// prefixTree keeps the keys and values of prompts, every shared prefix once, in a pool of slots; what nobody uses is given up, least recently
// used first, when slots run out.
type prefixTree struct {
	pool *slotPool
	root prefixNode
	tick uint64
}

func newPrefixTree(pool *slotPool) *prefixTree { return &prefixTree{pool: pool} }

// clear gives up everything; no request may be holding on.
func (t *prefixTree) clear() {
	*t = prefixTree{pool: newSlotPool(int(t.pool.size)), tick: t.tick}
}

// insert finds or makes the path of tokens. leaf is where it ends, held until release; fresh is the new node, pending, nil where the path was
// there. ok is false where there is no room: prefixes that nobody uses may be gone then.
func (t *prefixTree) insert(tokens []int32) (leaf, fresh *prefixNode, ok bool) {
	t.tick++
	n, depth := &t.root, int32(0)
	for len(tokens) > 0 {
		next := n.child(tokens[0])
		if next == nil {
			break
		}
		k := flow.CommonPrefix(next.tokens, tokens)
		if k < len(next.tokens) && k < len(tokens) {
			next.split(k) // next is now the rest, below a new node
			next = next.parent
		}
		next.used = t.tick
		n, tokens, depth = next, tokens[k:], depth+int32(k)
	}
	n.refs++
	if len(tokens) == 0 {
		return n, nil, true
	}
	from, start, ok := t.take(int32(len(tokens)), depth)
	n.refs--
	if !ok {
		return nil, nil, false
	}
	fresh = &prefixNode{tokens: append([]int32(nil), tokens...), from: from, start: start, depth: depth, parent: n, refs: 1, used: t.tick, pending: true}
	n.children = append(n.children, fresh)
	return fresh, fresh, true
}

// take takes slots, giving up prefixes that nobody uses until they suffice, unless all of them would not.
func (t *prefixTree) take(n, parity int32) (from, start int32, ok bool) {
	if from, start, ok = t.pool.take(n, parity); ok {
		return from, start, true
	}
	if spare, _ := t.root.spare(); t.pool.total()+spare < n {
		return 0, 0, false
	}
	for {
		if from, start, ok = t.pool.take(n, parity); ok {
			return from, start, true
		}
		old := t.root.oldest()
		if old == nil {
			return 0, 0, false
		}
		t.remove(old)
	}
}

func (t *prefixTree) remove(n *prefixNode) {
	t.pool.give(n.from, n.start+int32(len(n.tokens)))
	c := n.parent.children
	for i := range c {
		if c[i] == n {
			c[i] = c[len(c)-1]
			n.parent.children = c[:len(c)-1]
			return
		}
	}
}

// release ends a request's hold.
func (t *prefixTree) release(leaf *prefixNode) { leaf.refs-- }

func (n *prefixNode) child(token int32) *prefixNode {
	for _, c := range n.children {
		if c.tokens[0] == token {
			return c
		}
	}
	return nil
}

// split puts the first k tokens of n into a new node above it. Holders of n keep holding n, and with it all above.
func (n *prefixNode) split(k int) {
	up := &prefixNode{tokens: n.tokens[:k:k], from: n.from, start: n.start, depth: n.depth, parent: n.parent, children: []*prefixNode{n}, used: n.used,
		pending: n.pending}
	for i, c := range n.parent.children {
		if c == n {
			n.parent.children[i] = up
		}
	}
	n.tokens, n.parent = n.tokens[k:], up
	n.start, n.depth = n.start+int32(k), n.depth+int32(k)
	n.from = n.start
}

// oldest is the least recently used leaf below n that nobody holds; nil if there is none.
func (n *prefixNode) oldest() *prefixNode {
	var best *prefixNode
	for _, c := range n.children {
		o := c
		if len(c.children) > 0 {
			o = c.oldest()
		} else if c.refs > 0 {
			o = nil
		}
		if o != nil && (best == nil || o.used < best.used) {
			best = o
		}
	}
	return best
}

// spare counts the slots of n and below that nobody holds; all says whether nobody holds any.
func (n *prefixNode) spare() (slots int32, all bool) {
	all = n.refs == 0
	for _, c := range n.children {
		s, free := c.spare()
		slots, all = slots+s, all && free
	}
	if all {
		slots += n.start + int32(len(n.tokens)) - n.from
	}
	return slots, all
}

// due appends the pending nodes of the path to n, from the root, and takes the mark off: whoever asks computes them.
func (n *prefixNode) due(list []*prefixNode) []*prefixNode {
	if !n.pending {
		return list
	}
	n.pending = false
	return append(n.parent.due(list), n)
}

// segments appends the path to n, from the root, without n itself, as attention reads it.
func (n *prefixNode) segments(s []kernels.Seg) []kernels.Seg {
	if n.parent == nil || n.parent.parent == nil {
		return s
	}
	s = n.parent.segments(s)
	return append(s, kernels.Seg{Slot: n.parent.start, Len: int32(len(n.parent.tokens))})
}

// whole is the path to the end of the first `length` tokens that n's path spells: n may reach further.
func (n *prefixNode) whole(s []kernels.Seg, length int32) []kernels.Seg {
	if n.parent == nil {
		return s
	}
	s = n.segments(s)
	return append(s, kernels.Seg{Slot: n.start, Len: min(int32(len(n.tokens)), length-n.depth)})
}
