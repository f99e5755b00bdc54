package cluster

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// cacheAsk is a put or get of an entry of the action cache.
type cacheAsk struct {
	key   string
	put   bool
	value string // of a put
}

// notFound is what a get of no entry comes to.
const notFound = ""

// cacheModel is the action cache as one register for each key: a get comes to the
// value of the last put, or to notFound before the first.
func cacheModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			return partition(all, func(in any) string { return in.(cacheAsk).key })
		},
		Init: func() any { return notFound },
		Step: func(state, in, out any) (bool, any) {
			ask := in.(cacheAsk)
			if ask.put {
				return true, ask.value
			}
			return out == state, state
		},
		DescribeOperation: func(in, out any) string {
			ask := in.(cacheAsk)
			if ask.put {
				return fmt.Sprintf("put %s = %q", ask.key, ask.value)
			}
			return fmt.Sprintf("get %s: %q", ask.key, out)
		},
	}
}

// partition splits a history by key, in the order of the calls.
func partition(all []porcupine.Operation, key func(in any) string) [][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	var keys []string
	for _, op := range all {
		k := key(op.Input)
		if parts[k] == nil {
			keys = append(keys, k)
		}
		parts[k] = append(parts[k], op)
	}
	var out [][]porcupine.Operation
	for _, k := range keys {
		slices.SortFunc(parts[k], func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		out = append(out, parts[k])
	}
	return out
}

// beginning returns the shortest beginning that the model refuses: the events up
// to the end of the first that cannot be explained, and those that were under way
// then.
func beginning(m porcupine.Model, part []porcupine.Operation) []porcupine.Operation {
	ends := make([]int64, 0, len(part))
	for _, op := range part {
		if op.Return != never {
			ends = append(ends, op.Return)
		}
	}
	slices.Sort(ends)
	for _, end := range ends {
		var until []porcupine.Operation
		for _, op := range part {
			switch {
			case op.Return <= end:
				until = append(until, op)
			case op.Call <= end && isWrite(op):
				op.Return = never
				until = append(until, op)
			}
		}
		if porcupine.CheckOperationsTimeout(m, until, checkPatience) != porcupine.Ok {
			return until
		}
	}
	return part
}

// isWrite tells whether an event may change what others see, so that it counts
// before it ended.
func isWrite(op porcupine.Operation) bool {
	ask, ok := op.Input.(cacheAsk)
	return ok && ask.put
}
