package cluster

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// never is when something ends whose outcome nobody knows: it may have its effect
// at any time, or not at all.
const never = math.MaxInt64

// checkPatience bounds the search for an order; a history of these tests takes
// milliseconds.
const checkPatience = time.Minute

// history is what clients asked and were told, with times.
type history struct {
	began time.Time
	mu    sync.Mutex
	all   []porcupine.Operation
}

func newHistory() *history { return &history{began: time.Now()} }

// now is a time of the history.
func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(client int, in, out any, call, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// check says which part of the history no order explains.
func (h *history) check(m porcupine.Model) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, part := range m.Partition(h.all) {
		alone := m
		alone.Partition = nil
		switch porcupine.CheckOperationsTimeout(alone, part, checkPatience) {
		case porcupine.Illegal:
			return fmt.Errorf("no order explains this history:\n%s", h.tell(m, part))
		case porcupine.Unknown:
			return fmt.Errorf("no order was found within %s for a history of %d events", checkPatience, len(part))
		}
	}
	return nil
}

// mostTold is how many events of a history are printed.
const mostTold = 60

// tell prints the shortest beginning of a history that no order explains.
func (h *history) tell(m porcupine.Model, part []porcupine.Operation) string {
	m.Partition = nil
	part = beginning(m, part)
	out := ""
	for i, op := range part {
		if left := len(part) - i; left > mostTold {
			continue
		}
		end := "never"
		if op.Return != never {
			end = h.began.Add(time.Duration(op.Return)).Format("15:04:05.000000")
		}
		out += fmt.Sprintf("  client %d, %s to %s: %s\n", op.ClientId, h.began.Add(time.Duration(op.Call)).Format("15:04:05.000000"), end, m.DescribeOperation(op.Input, op.Output))
	}
	return out
}
