package sched

import (
	"cmp"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// passes tells whether an answer from the cache passes a filter, by the rules of
// queue.Store.List. Such an operation is COMPLETED and was never started.
func (a *answer) passes(f filter.Filter) bool {
	for _, t := range f.Terms {
		if !a.holds(t) {
			return false
		}
	}
	return true
}

// mayPass is false when the filter lets no completed operation through, as the
// default one does: then nobody needs to be looked at.
func mayPass(f filter.Filter) bool {
	for _, t := range f.Terms {
		if t.Key == filter.Stage && !compare(int32(queue.Completed), t.Op, t.Stage) {
			return false
		}
	}
	return true
}

func (a *answer) holds(t filter.Term) bool {
	switch t.Key {
	case filter.Stage:
		return compare(int32(queue.Completed), t.Op, t.Stage)
	case filter.QueuedTime, filter.CompletedTime:
		return compare(a.at.Compare(t.Time), t.Op, 0)
	case filter.StartTime:
		return false
	case filter.Platform:
		return offersProperty(a.sub.Matched, t) || offersProperty(a.sub.Carried, t)
	case filter.Command:
		if t.Op == filter.Equal || t.Op == filter.NotEqual {
			return strings.Contains(a.sub.Command, t.Text) == (t.Op == filter.Equal)
		}
	}
	return compare(a.text(t.Key), t.Op, t.Text)
}

func offersProperty(ps []queue.Property, t filter.Term) bool {
	for _, p := range ps {
		if p.Name == t.Name && compare(p.Value, t.Op, t.Text) {
			return true
		}
	}
	return false
}

// text returns what a key compares.
func (a *answer) text(key filter.Key) string {
	m := a.sub.RequestMetadata
	switch key {
	case filter.Name:
		return a.id.String()
	case filter.Command:
		return a.sub.Command
	case filter.ActionDigest:
		return a.sub.Action.String()
	case filter.InvocationID:
		return m.GetToolInvocationId()
	case filter.CorrelatedInvocationsID:
		return m.GetCorrelatedInvocationsId()
	case filter.ToolName:
		return m.GetToolDetails().GetToolName()
	case filter.ToolVersion:
		return m.GetToolDetails().GetToolVersion()
	case filter.ActionMnemonic:
		return m.GetActionMnemonic()
	case filter.TargetID:
		return m.GetTargetId()
	case filter.ConfigurationID:
		return m.GetConfigurationId()
	case filter.ClientActor, filter.ClientSubject:
		return a.sub.Client
	}
	return ""
}

func compare[T cmp.Ordered](a T, op filter.Op, b T) bool {
	switch c := cmp.Compare(a, b); op {
	case filter.Equal:
		return c == 0
	case filter.NotEqual:
		return c != 0
	case filter.Less:
		return c < 0
	case filter.LessOrEqual:
		return c <= 0
	case filter.Greater:
		return c > 0
	case filter.GreaterOrEqual:
		return c >= 0
	}
	return false
}
