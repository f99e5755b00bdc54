package queue

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// FuzzColumns: what is written as text is what is read again, and what was never
// written is refused.
func FuzzColumns(f *testing.F) {
	f.Add("OSFamily", "linux", "attempt 1", "[]")
	f.Add("", "\"\\\xff\x00", "\u2028<&>", `[["a"]]`)
	f.Add("a", "b", "c", `[["a","b","c"]]`)
	f.Fuzz(func(t *testing.T, name, value, line, raw string) {
		ps := propertiesFromProto([]*queuepb.Property{{Name: name, Value: value}, nil})
		got, err := decodeProperties(encodeProperties(ps))
		if diff := cmp.Diff(ps, got); err != nil || diff != "" {
			t.Errorf("properties: %v %s", err, diff)
		}
		if diff := cmp.Diff(ps, propertiesFromProto(PropertiesProto(ps))); diff != "" {
			t.Errorf("properties by proto: %s", diff)
		}
		history := remember(remember(nil, line), value)
		again, err := decodeStrings(encodeStrings(history))
		if diff := cmp.Diff(history, again); err != nil || diff != "" {
			t.Errorf("history: %v %s", err, diff)
		}
		for _, l := range history {
			if len(l) > maxHistoryLine || !utf8.ValidString(l) {
				t.Errorf("line %q", l)
			}
		}
		decodeProperties(raw)
		decodeStrings(raw)
	})
}

func FuzzDigestFromProto(f *testing.F) {
	d := actionOf("x")
	f.Add(uint32(d.Function), d.Hash[:], d.Size)
	f.Add(uint32(257), d.Hash[:], int64(-1))
	f.Add(uint32(1), []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, function uint32, hash []byte, size int64) {
		d, err := DigestFromProto(&queuepb.Digest{Function: function, Hash: hash, Size: size})
		if err != nil {
			if !errors.Is(err, ErrMalformed) || !d.IsZero() {
				t.Errorf("%v, %v", d, err)
			}
			return
		}
		if again, err := DigestFromProto(DigestProto(d)); err != nil || again != d {
			t.Errorf("%v became %v, %v", d, again, err)
		}
	})
}
