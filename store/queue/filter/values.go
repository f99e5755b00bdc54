package filter

import (
	"maps"
	"slices"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// completed is the number of the stage COMPLETED.
const completed = int32(repb.ExecutionStage_COMPLETED)

// reader puts a value into a term, or says what is wrong with it.
type reader func(t *Term, value string) (wrong string)

// readers holds the keys with what reads their values. It is never written.
var readers = map[Key]reader{
	Stage:                   readStage,
	Name:                    readName,
	Command:                 readText,
	Platform:                readPlatform,
	ActionDigest:            readDigest,
	InvocationID:            readText,
	CorrelatedInvocationsID: readText,
	ToolName:                readText,
	ToolVersion:             readText,
	ActionMnemonic:          readText,
	TargetID:                readText,
	ConfigurationID:         readText,
	QueuedTime:              readTime,
	StartTime:               readTime,
	CompletedTime:           readTime,
	ClientWorkflow:          readText,
	ClientActor:             readText,
	ClientSubject:           readText,
}

// sortKeys are those that can order: all but platform, of which a job has many.
var sortKeys = []Key{
	Stage, Name, QueuedTime, StartTime, CompletedTime, ActionDigest, Command, InvocationID, CorrelatedInvocationsID, ToolName,
	ToolVersion, ActionMnemonic, TargetID, ConfigurationID, ClientWorkflow, ClientActor, ClientSubject,
}

func knownKeys() string {
	names := []string{sortOrder}
	for k := range maps.Keys(readers) {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func readText(t *Term, v string) string {
	t.Text = v
	return ""
}

func readStage(t *Term, v string) string {
	n, ok := repb.ExecutionStage_Value_value[strings.ToUpper(v)]
	if !ok || n > completed {
		return "want UNKNOWN, CACHE_CHECK, QUEUED, EXECUTING or COMPLETED"
	}
	t.Stage = n
	return ""
}

// readName takes the operation's id. People paste whole names, so the instance
// may stand before it.
func readName(t *Term, v string) string {
	if v == "" || strings.ContainsAny(v, " \t\n") {
		return "want the name of an operation"
	}
	t.Text = v[strings.LastIndexByte(v, '/')+1:]
	return ""
}

func readPlatform(t *Term, v string) string {
	name, value, ok := strings.Cut(v, ":")
	if !ok || name == "" || value == "" {
		return "want name:value"
	}
	t.Name, t.Text = name, value
	return ""
}

func readDigest(t *Term, v string) string {
	const want = "want hash/size"
	rest := v
	if strings.Count(rest, "/") == 2 { // function/hash/size
		_, rest, _ = strings.Cut(rest, "/")
	}
	hash, size, ok := strings.Cut(rest, "/")
	if !ok || hash == "" || size == "" || strings.Trim(hash, "0123456789abcdef") != "" || strings.Trim(size, "0123456789") != "" {
		return want
	}
	t.Text = v
	return ""
}

func readTime(t *Term, v string) string {
	at, wrong := parseTime(v)
	t.Time = at
	return wrong
}

// sort reads the value of sort_order: key, key(asc) or key(desc).
func (p *parser) sort(op, value token) error {
	if op.op != Equal {
		return syntaxError(op.pos, "sort_order takes = only")
	}
	name, descending := strings.ToLower(value.text), false
	if rest, ok := strings.CutSuffix(name, "(desc)"); ok {
		name, descending = rest, true
	} else if rest, ok := strings.CutSuffix(name, "(asc)"); ok {
		name = rest
	}
	key := Key(strings.TrimSpace(name))
	if !slices.Contains(sortKeys, key) {
		return syntaxError(value.pos, "%q is no sort key (known: %s, each with (asc) or (desc) after it)", clip(value.text), joinKeys(sortKeys))
	}
	p.out.Order = append(p.out.Order, Sort{Key: key, Descending: descending})
	return nil
}

func joinKeys(keys []Key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
