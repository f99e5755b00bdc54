package queue

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestTokensAreGoodForTheirQueryOnly(t *testing.T) {
	s := listed(t)
	q := ListQuery{Instance: "main", Filter: parse(t, "stage!=queued & sort_order=command & sort_order=start_time"), PageSize: 1}
	_, token, err := s.List(t.Context(), q)
	if err != nil || token == "" {
		t.Fatal(token, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(old, new string) string {
		if !strings.Contains(string(raw), old) {
			t.Fatalf("%s has no %s", raw, old)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), old, new, 1)))
	}
	for name, token := range map[string]string{
		"no base64":            token + "!",
		"cut":                  token[:len(token)-3],
		"no JSON":              base64.RawURLEncoding.EncodeToString([]byte("x")),
		"empty object":         base64.RawURLEncoding.EncodeToString([]byte("{}")),
		"more behind it":       encode("}", "} {}"),
		"another fingerprint":  encode(`"q":`, `"q":1`),
		"text for a number":    encode(`,1767323`, `,"1767323"`+`,1767323`),
		"number for a text":    encode(`["cc`, `[1,"cc`),
		"a fraction":           encode(`,1767323`, `,0.1767323`),
		"one value more":       encode(`]`, `,1]`),
		"larger than 64 bits":  encode(`,1767323`, `,99999999999999999999`+`1767323`),
		"longer than any":      strings.Repeat("A", maxToken+1),
		"nested without bound": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 40000))),
	} {
		q := q
		q.PageToken = token
		if _, _, err := s.List(t.Context(), q); !errors.Is(err, ErrBadPageToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*ListQuery){
		"filter":   func(q *ListQuery) { q.Filter.Terms = nil },
		"order":    func(q *ListQuery) { q.Filter.Order = q.Filter.Order[:1] },
		"instance": func(q *ListQuery) { q.Instance = "other" },
	} {
		q := q
		q.PageToken = token
		change(&q)
		if _, _, err := s.List(t.Context(), q); !errors.Is(err, ErrBadPageToken) {
			t.Errorf("with another %s: %v", name, err)
		}
	}
}

// FuzzPageToken: whatever a client sends as a token is a page or ErrBadPageToken.
func FuzzPageToken(f *testing.F) {
	s := listed(f)
	texts := []string{"", "stage!=completed", "sort_order=command(desc) & sort_order=stage & sort_order=completed_time", "sort_order=name"}
	for i, text := range texts {
		_, token, err := s.List(f.Context(), ListQuery{Instance: "main", Filter: parse(f, text), PageSize: 2})
		if err != nil {
			f.Fatal(err)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(token)
		f.Add(raw, i)
	}
	f.Fuzz(func(t *testing.T, raw []byte, i int) {
		q := ListQuery{Instance: "main", Filter: parse(t, texts[uint(i)%uint(len(texts))]), PageSize: 2}
		q.PageToken = base64.RawURLEncoding.EncodeToString(raw)
		if rows, _, err := s.List(t.Context(), q); err != nil && !errors.Is(err, ErrBadPageToken) || len(rows) > 2 {
			t.Fatalf("%q: %d rows, %v", raw, len(rows), err)
		}
	})
}
