// Package filter reads the filter language of ListOperations, which is
// BuildGrid's: terms `key op value` joined by `&`. It is pure: Parse turns text
// into a Filter, and who holds the operations compiles that to a query.
//
//	stage = queued & queued_time >= 2026-01-02T03:04:05Z & sort_order = start_time(desc)
//
// Grammar (spaces between tokens mean nothing):
//
//	filter = [ term { "&" term } ]
//	term   = key op value
//	op     = "=" | "!=" | "<" | "<=" | ">" | ">="
//	value  = bare | quoted
//	bare   = one or more of A-Z a-z 0-9 - : . + ( ) _ /
//	quoted = '"' { any character but '"' and '\', or '\' and one of the two } '"'
//
// Quoted values are an addition: BuildGrid has bare ones only.
package filter

import "time"

// Key is what a term compares.
type Key string

// The keys. All are BuildGrid's.
const (
	Stage                   Key = "stage"         // QUEUED, EXECUTING, COMPLETED, ...; any case
	Name                    Key = "name"          // operation id, without the instance
	Command                 Key = "command"       // = and != look for a part of it
	Platform                Key = "platform"      // name:value
	ActionDigest            Key = "action_digest" // hash/size
	InvocationID            Key = "invocation_id"
	CorrelatedInvocationsID Key = "correlated_invocations_id"
	ToolName                Key = "tool_name"
	ToolVersion             Key = "tool_version"
	ActionMnemonic          Key = "action_mnemonic"
	TargetID                Key = "target_id"
	ConfigurationID         Key = "configuration_id"
	QueuedTime              Key = "queued_time" // ISO 8601, UTC unless it says otherwise
	StartTime               Key = "start_time"
	CompletedTime           Key = "completed_time"
	ClientWorkflow          Key = "client_workflow"
	ClientActor             Key = "client_actor"
	ClientSubject           Key = "client_subject"
)

// sortOrder is the key that orders instead of comparing.
const sortOrder = "sort_order"

// Op is a comparison.
type Op int

// The comparisons.
const (
	Equal Op = iota + 1
	NotEqual
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
)

// String returns the operator as the language writes it, which is SQL's too.
func (o Op) String() string {
	switch o {
	case Equal:
		return "="
	case NotEqual:
		return "!="
	case Less:
		return "<"
	case LessOrEqual:
		return "<="
	case Greater:
		return ">"
	case GreaterOrEqual:
		return ">="
	}
	return "?"
}

// Term is one comparison. Key says which of the other fields holds the value.
type Term struct {
	Key   Key
	Op    Op
	Text  string    // for all keys but stage and the times; of Platform the value
	Name  string    // of Platform: the property's name
	Stage int32     // of Stage: the number of ExecutionStage.Value
	Time  time.Time // of the times, in UTC
}

// Sort is one key of the order that was asked for.
type Sort struct {
	Key        Key // Stage, Name, QueuedTime, StartTime, CompletedTime, ActionDigest or Command
	Descending bool
}

// Filter is a conjunction of terms, with an order. The zero Filter lets all
// operations through, in the order of their queueing.
type Filter struct {
	Terms []Term
	Order []Sort
}

// Unfinished returns the filter that stands for an empty one: stage !=
// COMPLETED.
func Unfinished() Filter {
	return Filter{Terms: []Term{{Key: Stage, Op: NotEqual, Stage: completed}}}
}

// IsZero tells whether the filter says nothing, neither terms nor an order.
func (f Filter) IsZero() bool { return len(f.Terms) == 0 && len(f.Order) == 0 }

// OrUnfinished returns f, or Unfinished when f says nothing: what
// ListOperations does with the filter of a request.
func (f Filter) OrUnfinished() Filter {
	if f.IsZero() {
		return Unfinished()
	}
	return f
}
