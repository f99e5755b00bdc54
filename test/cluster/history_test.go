package cluster

import (
	"testing"

	"github.com/anishathalye/porcupine"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// event is one of a planted history.
type event struct {
	in, out   any
	call, end int64
}

func historyOf(events []event) *history {
	h := newHistory()
	for i, e := range events {
		h.add(i, e.in, e.out, e.call, e.end)
	}
	return h
}

func TestHistoriesOfTheActionCache(t *testing.T) {
	put := func(value string, call, end int64) event { return event{cacheAsk{"k", true, value}, nil, call, end} }
	get := func(value string, call, end int64) event { return event{cacheAsk{key: "k"}, value, call, end} }
	for _, c := range []struct {
		rule   string
		events []event
		want   bool
	}{
		{"what was put is got", []event{get("", 1, 2), put("a", 3, 4), get("a", 5, 6)}, true},
		{"a get sees either while a put is under way", []event{put("a", 1, 2), put("b", 3, 9), get("b", 4, 5), get("b", 6, 7)}, true},
		{"an acknowledged entry is not lost", []event{put("a", 1, 2), get("", 3, 4)}, false},
		{"an acknowledged entry is not overtaken by an older one", []event{put("a", 1, 2), put("b", 3, 4), get("a", 5, 6)}, false},
		{"no node answers from the past", []event{put("a", 1, 2), put("b", 3, 9), get("b", 4, 5), get("a", 6, 7)}, false},
		{"what nobody put is not got", []event{put("a", 1, 2), get("x", 3, 4)}, false},
		{"a put that failed may have its effect late", []event{put("a", 1, never), get("", 2, 3), get("a", 4, 5)}, true},
		{"or not at all", []event{put("a", 1, never), get("", 2, 3), get("", 4, 5)}, true},
		{"but once at most", []event{put("a", 1, never), get("a", 2, 3), put("b", 4, 5), get("b", 6, 7), get("a", 8, 9)}, false},
		{"keys do not meet", []event{put("a", 1, 2), {cacheAsk{key: "other"}, "", 3, 4}}, true},
	} {
		if err := historyOf(c.events).check(cacheModel()); (err == nil) != c.want {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

func TestHistoriesOfOperations(t *testing.T) {
	const (
		queued    = repb.ExecutionStage_QUEUED
		executing = repb.ExecutionStage_EXECUTING
		completed = repb.ExecutionStage_COMPLETED
	)
	see := func(stage repb.ExecutionStage_Value, result string, call, end int64) event {
		return event{"op", sight{stage, result}, call, end}
	}
	for _, c := range []struct {
		rule   string
		events []event
		want   bool
	}{
		{"it moves forward", []event{see(queued, "", 1, 2), see(executing, "", 3, 4), see(completed, "a", 5, 6), see(completed, "a", 7, 8)}, true},
		{"stages may be missed", []event{see(queued, "", 1, 2), see(completed, "a", 5, 6)}, true},
		{"who asked at the same time may have been answered before", []event{see(completed, "a", 1, 9), see(queued, "", 2, 8)}, true},
		{"it does not go back", []event{see(executing, "", 1, 2), see(queued, "", 3, 4)}, false},
		{"a completed one stays completed", []event{see(completed, "a", 1, 2), see(executing, "", 3, 4)}, false},
		{"with the same result", []event{see(completed, "a", 1, 2), see(completed, "b", 3, 4)}, false},
		{"it is not forgotten", []event{see(queued, "", 1, 2), {"op", absent, 3, 4}}, false},
		{"not even when it is done", []event{see(completed, "a", 1, 2), {"op", absent, 3, 4}}, false},
	} {
		if err := historyOf(c.events).check(operationModel()); (err == nil) != c.want {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

func TestTheBeginningOfABadHistoryIsTold(t *testing.T) {
	var part []porcupine.Operation
	for i := range int64(200) {
		part = append(part, porcupine.Operation{Input: cacheAsk{"k", true, "a"}, Call: 10 * i, Return: 10*i + 1})
	}
	part[50] = porcupine.Operation{Input: cacheAsk{key: "k"}, Output: "x", Call: 500, Return: 501}
	if have := beginning(cacheModel(), part); len(have) != 51 {
		t.Errorf("%d events are told, want 51", len(have))
	}
}
