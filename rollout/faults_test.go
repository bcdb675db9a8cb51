package rollout

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"afctl/flow"
)

// httpModel asks a server for text, as a back end does: its errors are those of the network.
type httpModel struct {
	url    string
	client *http.Client
}

func (m httpModel) Complete(ctx context.Context, r Request) (Completion, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Completion{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(body))
	if err != nil {
		return Completion{}, err
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return Completion{}, &TransientError{Err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return Completion{}, &TransientError{Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64)
		return Completion{}, statusError(resp.StatusCode, time.Duration(seconds*float64(time.Second)), string(text))
	}
	return Completion{Text: string(text), Turn: fakeTurn(1)}, nil
}

// A server that refuses, breaks off, hangs and talks nonsense: solves come through where a retry helps, and fail by a
// kind where none does.
func TestFaultyServer(t *testing.T) {
	answer := func(w http.ResponseWriter, slot string) {
		switch slot {
		case SlotPlanner:
			io.WriteString(w, "**Sub-Goal:** goal\n**Tool Name:** `Search`")
		case SlotExecutor:
			io.WriteString(w, `{"q": "goal"}`)
		case SlotVerifier:
			io.WriteString(w, "Conclusion: STOP")
		default:
			io.WriteString(w, "<answer>Search of goal</answer>")
		}
	}
	for name, c := range map[string]struct {
		fault func(w http.ResponseWriter, r *http.Request)
		every int64  // of so many calls, all but the last have the fault; 0: all calls
		kind  string // of the failure; empty: solved
	}{
		"none": {nil, 1, ""},
		"429": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "0.001")
			w.WriteHeader(429)
		}, 3, ""},
		"503":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 3, ""},
		"500 always": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 0, KindUnavailable},
		"429 always": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, 0, KindUnavailable},
		"401":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401); io.WriteString(w, "no key") }, 0, KindModel},
		"501":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(501) }, 0, KindModel},
		"broken off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 2, ""},
		"hangs":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 2, ""},
		"hangs on":   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0, KindTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			var calls atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var req Request
				if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
					t.Error(err)
				}
				if n := calls.Add(1); c.fault != nil && (c.every == 0 || n%c.every != 0) {
					c.fault(w, r)
					return
				}
				answer(w, req.Slot)
			}))
			defer srv.Close()
			defer srv.CloseClientConnections()
			m := httpModel{srv.URL, srv.Client()}
			s := fixture(t, func(s *Solver) {
				s.Slots.Planner, s.Slots.Executor = ModelPlanner{Model: m}, ModelExecutor{Model: m}
				s.Slots.Verifier, s.Slots.Generator = ModelVerifier{Model: m}, ModelGenerator{Model: m}
				// A busy machine must not make a slow answer one that hangs.
				s.Options.Retries, s.Options.CallTimeout = 2, 10*time.Second
				if strings.HasPrefix(name, "hangs") {
					s.Options.CallTimeout = 250 * time.Millisecond
				}
			})
			got := s.Solve(t.Context(), job("q"))
			if c.kind != "" {
				mustFail(t, got, c.kind)
			} else {
				mustScore(t, got, 1)
			}
		})
	}
}

// The seed of a call does not depend on how often it was tried.
func TestRetryKeepsSeed(t *testing.T) {
	var seeds []uint64
	f := newFlaky(2, errOverload)
	s := fixture(t, func(s *Solver) {
		s.Options.Retries = 2
		s.Slots.Planner = ModelPlanner{Model: modelFunc(func(_ context.Context, r Request) (Completion, error) {
			seeds = append(seeds, r.Seed)
			return Completion{Text: "Sub-Goal: goal\nTool Name: Search", Turn: fakeTurn(1)}, f.try()
		})}
	})
	mustScore(t, s.Solve(t.Context(), job("q")), 1)
	want := flow.DeriveSeed(1, SlotPlanner, "1")
	if fmt.Sprint(seeds) != fmt.Sprint([]uint64{want, want, want}) {
		t.Errorf("seeds %v, expected %d three times", seeds, want)
	}
}

// statusError is what a client of a server makes of an HTTP reply that is not a success: a *TransientError for 408, 425, 429 and 5xx (but
// not 501 and 505, which no waiting mends), a plain error otherwise. Detail is what the server said.
func statusError(status int, retryAfter time.Duration, detail string) error {
	err := fmt.Errorf("HTTP status %d: %s", status, clipBytes(detail, 300))
	switch {
	case status == 501, status == 505:
		return err
	case status == 408, status == 425, status == 429, status >= 500 && status <= 599:
		return &TransientError{Err: err, RetryAfter: retryAfter}
	}
	return err
}
