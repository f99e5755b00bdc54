package invariants

import "testing"

func TestWhatWasAcknowledgedIsThere(t *testing.T) {
	n := newNode(t)
	n.apply(t, 3, story()...)
	const cached = 16 // the index at which b was completed
	for _, c := range []struct {
		broken string
		say    func(a *Acknowledged)
	}{
		{"", func(a *Acknowledged) {
			a.Operation("op-a")
			a.Done("op-a", "job-a", []byte("response of a"))
			a.Done("op-a", "job-a", []byte("response of a"))
			a.Operation("op-d")
			a.Result("main", actionOf("b"), cached, nil)
			a.Result("main", actionOf("b"), cached-1, []byte("an older one"))
			a.SomeResult("main", actionOf("c"), 12)
			a.Result("main", actionOf("d"), 14, nil)
			a.Evicted("main", actionOf("d"))
		}},
		{"lacks operation op-z", func(a *Acknowledged) { a.Operation("op-z") }},
		{"op-a was done with one result", func(a *Acknowledged) {
			a.Operation("op-a")
			a.Done("op-a", "job-a", []byte("response of a"))
			a.Done("op-a", "job-a", []byte("another"))
		}},
		{"op-a was done with one result", func(a *Acknowledged) {
			a.Operation("op-a")
			a.Done("op-a", "job-a", nil)
			a.Done("op-a", "job-z", nil)
		}},
		{"which nobody made", func(a *Acknowledged) { a.Done("op-a", "job-a", nil) }},
		{"op-a has another result than a client saw", func(a *Acknowledged) { a.Operation("op-a"); a.Done("op-a", "job-a", []byte("another")) }},
		{"op-d is not done", func(a *Acknowledged) { a.Operation("op-d"); a.Done("op-d", "job-d", []byte("ran")) }},
		{"no result of", func(a *Acknowledged) { a.SomeResult("main", actionOf("z"), 3) }},
		{"no result of", func(a *Acknowledged) { a.SomeResult("other", actionOf("b"), 3) }},
		{"of index 16, that of 17 was acknowledged", func(a *Acknowledged) { a.SomeResult("main", actionOf("b"), 17) }},
		{"another result of", func(a *Acknowledged) { a.Result("main", actionOf("b"), cached, []byte("x")) }},
		{"was written twice at 3", func(a *Acknowledged) {
			a.Result("main", actionOf("b"), 3, []byte("x"))
			a.Result("main", actionOf("b"), 3, []byte("y"))
		}},
	} {
		t.Run(c.broken, func(t *testing.T) {
			a := NewAcknowledged()
			c.say(a)
			err := a.Err()
			if err == nil {
				err = a.Verify(t.Context(), "n", n.queue, n.cache)
			}
			wantBroken(t, err, c.broken)
		})
	}
}
