package queue

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// What List refuses.
var (
	ErrBadPageToken = errors.New("bad page token")
	ErrBadPageSize  = errors.New("bad page size")
)

// maxToken bounds what is decoded, in bytes.
const maxToken = 64 << 10

// pageToken says where a page ended. Clients see it as base64.
type pageToken struct {
	Query  uint64            `json:"q"` // of instance and filter: a token is good for one query
	Values []json.RawMessage `json:"v"` // of the sort columns in the last row
}

// makeToken returns the token of the page after a row.
func makeToken(q ListQuery, order []sortColumn, o *Operation, j *liveJob) string {
	t := pageToken{Query: q.fingerprint()}
	for _, c := range order {
		value, _ := json.Marshal(sortValue(c.key, o, j)) // a number or text
		t.Values = append(t.Values, value)
	}
	b, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(b)
}

// sortValue returns what a row sorts by: int64 or string.
func sortValue(key filter.Key, o *Operation, j *liveJob) any {
	switch key {
	case filter.Stage:
		if o.Cancelled {
			return int64(Completed)
		}
		return int64(j.Stage)
	case filter.QueuedTime:
		return j.seq
	case filter.StartTime:
		return nanos(j.StartedAt)
	case filter.CompletedTime:
		return nanos(j.CompletedAt)
	case filter.ActionDigest:
		return j.Action.String()
	case filter.Command:
		return j.Command
	case filter.ClientActor, filter.ClientSubject:
		return o.Client
	case filter.ClientWorkflow:
		return ""
	case filter.Name:
		return o.ID
	}
	return metadataValue(key, metadataOf(o))
}

// metadataValue returns the field of the request metadata that a key names.
func metadataValue(key filter.Key, m *repb.RequestMetadata) string {
	switch key {
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
	}
	return ""
}

// readToken returns the sort values of q's token.
func readToken(q ListQuery, order []sortColumn) ([]any, error) {
	bad := func(why string) ([]any, error) { return nil, fmt.Errorf("%w: %s", ErrBadPageToken, why) }
	if len(q.PageToken) > maxToken {
		return bad("too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(q.PageToken)
	if err != nil {
		return bad("not from this server")
	}
	var t pageToken
	if err := json.Unmarshal(b, &t); err != nil || len(t.Values) == 0 {
		return bad("not from this server")
	}
	if t.Query != q.fingerprint() || len(t.Values) != len(order) {
		return bad("from a request with another filter or instance")
	}
	values := make([]any, len(order))
	for i, c := range order {
		if values[i], err = readSortValue(c.key, t.Values[i]); err != nil {
			return bad("not from this server")
		}
	}
	return values, nil
}

func readSortValue(key filter.Key, raw json.RawMessage) (any, error) {
	if textColumns[key] != "" {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	var n int64
	err := json.Unmarshal(raw, &n)
	return n, err
}

// fingerprint tells queries apart.
func (q ListQuery) fingerprint() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %s", q.Instance, q.Filter)
	return h.Sum64()
}
