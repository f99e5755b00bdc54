package queue

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// maxID bounds ids, in bytes.
const maxID = 256

func checkIDs(ids ...string) error {
	for _, id := range ids {
		if id == "" || len(id) > maxID {
			return fmt.Errorf("%w: an id has %d bytes, want 1 to %d", ErrMalformed, len(id), maxID)
		}
	}
	return nil
}

// DigestProto returns d as the command log carries it.
func DigestProto(d digest.Digest) *queuepb.Digest {
	return &queuepb.Digest{Function: uint32(d.Function), Hash: d.Hash[:], Size: d.Size}
}

// DigestFromProto is the inverse of DigestProto. Errors wrap ErrMalformed.
func DigestFromProto(p *queuepb.Digest) (digest.Digest, error) {
	d := digest.Digest{Function: digest.Function(p.GetFunction()), Size: p.GetSize()}
	if p == nil || p.Function > 255 || !d.Function.Supported() || len(p.Hash) != len(d.Hash) || p.Size < 0 {
		return digest.Digest{}, fmt.Errorf("%w: bad digest", ErrMalformed)
	}
	copy(d.Hash[:], p.Hash)
	if d.Size == 0 && d != d.Function.Empty() {
		return digest.Digest{}, fmt.Errorf("%w: bad digest", ErrMalformed)
	}
	return d, nil
}

// response is how a job ended: one of the two is set.
type response struct {
	inline []byte
	blob   digest.Digest
}

func responseOf(m *queuepb.Complete) (response, error) {
	switch r := m.Response.(type) {
	case *queuepb.Complete_ExecuteResponse:
		return response{inline: noneIfEmpty(r.ExecuteResponse)}, nil
	case *queuepb.Complete_ExecuteResponseBlob:
		d, err := DigestFromProto(r.ExecuteResponseBlob)
		return response{blob: d}, err
	}
	return response{}, fmt.Errorf("%w: complete without a response", ErrMalformed)
}

// resultOf returns the write that a Complete asks of the action cache, without
// the action that it belongs to.
func resultOf(m *queuepb.Complete) (w ActionCacheWrite, cached bool, err error) {
	if !m.Cache {
		return w, false, nil
	}
	switch r := m.Result.(type) {
	case *queuepb.Complete_ActionResult:
		w.Result = noneIfEmpty(r.ActionResult)
	case *queuepb.Complete_ActionResultBlob:
		w.ResultBlob, err = DigestFromProto(r.ActionResultBlob)
	default:
		err = fmt.Errorf("%w: complete without a result to cache", ErrMalformed)
	}
	return w, err == nil, err
}

func propertiesFromProto(ps []*queuepb.Property) []Property {
	if len(ps) == 0 {
		return nil
	}
	out := make([]Property, len(ps))
	for i, p := range ps {
		out[i] = Property{Name: text(p.GetName()), Value: text(p.GetValue())}
	}
	return out
}

// PropertiesProto returns properties as the command log carries them.
func PropertiesProto(ps []Property) []*queuepb.Property {
	out := make([]*queuepb.Property, len(ps))
	for i, p := range ps {
		out[i] = &queuepb.Property{Name: p.Name, Value: p.Value}
	}
	return out
}

// encodeProperties returns [["name","value"],...], which SQL's json_each reads.
func encodeProperties(ps []Property) string {
	if len(ps) == 0 {
		return "[]"
	}
	pairs := make([][2]string, len(ps))
	for i, p := range ps {
		pairs[i] = [2]string{p.Name, p.Value}
	}
	return encode(pairs)
}

func decodeProperties(s string) ([]Property, error) {
	if s == "[]" {
		return nil, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal([]byte(s), &pairs); err != nil {
		return nil, fmt.Errorf("decode properties: %w", err)
	}
	ps := make([]Property, len(pairs))
	for i, p := range pairs {
		ps[i] = Property{Name: p[0], Value: p[1]}
	}
	return ps, nil
}

func encodeStrings(ss []string) string {
	if len(ss) == 0 {
		return "[]"
	}
	return encode(ss)
}

func decodeStrings(s string) ([]string, error) {
	if s == "[]" {
		return nil, nil
	}
	var ss []string
	if err := json.Unmarshal([]byte(s), &ss); err != nil {
		return nil, fmt.Errorf("decode history: %w", err)
	}
	return ss, nil
}

// encode returns strings as JSON, which cannot fail for them.
func encode(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// blob is b as a column: the tables know no NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// noneIfEmpty is the inverse of blob, so that what was just written equals what
// is read again.
func noneIfEmpty(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// text is s as a column and as JSON hold it: UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// digestText is d as a column; empty for the zero Digest.
func digestText(d digest.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
