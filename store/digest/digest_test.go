package digest

import (
	"errors"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

const (
	helloHash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func TestADigestNamesContent(t *testing.T) {
	d := Of(SHA256, []byte("hello"))
	h := SHA256.New()
	h.Write([]byte("hello"))
	if streamed := FromHash(SHA256, h, 5); streamed != d {
		t.Errorf("streamed %v, at once %v", streamed, d)
	}
	if d.Hex() != helloHash || d.String() != helloHash+"/5" || d.IsEmpty() || d.IsZero() {
		t.Errorf("%v", d)
	}
	if p := d.Proto(); p.Hash != helloHash || p.SizeBytes != 5 {
		t.Errorf("proto %v", p)
	}
	if e := SHA256.Empty(); e.Hex() != emptyHash || !e.IsEmpty() || e.IsZero() {
		t.Errorf("empty %v", e)
	}
	if zero := (Digest{}); !zero.IsZero() {
		t.Error("the zero Digest is not zero")
	}
	if other := (Digest{Function: BLAKE3, Hash: d.Hash, Size: 5}); other == d || other.String() != "blake3/"+helloHash+"/5" {
		t.Errorf("of another function: %v", other)
	}
}

func TestNewSaysWhichRuleIsBroken(t *testing.T) {
	for name, c := range map[string]struct {
		fn   Function
		hash string
		size int64
		want string
	}{
		"upper case":                   {SHA256, strings.ToUpper(helloHash), 5, "is not lower-case hexadecimal"},
		"not hexadecimal":              {SHA256, "g" + helloHash[1:], 5, "is not lower-case hexadecimal"},
		"too short":                    {SHA256, helloHash[1:], 5, "has 63 characters, SHA256 has 64"},
		"too long":                     {SHA256, helloHash + "0", 5, "has 65 characters"},
		"no hash":                      {SHA256, "", 5, "has 0 characters"},
		"negative":                     {SHA256, helloHash, -1, "size -1 is negative"},
		"nothing with another's hash":  {SHA256, helloHash, 0, "size 0 belongs to the empty blob"},
		"a function that nobody has":   {Function(200), helloHash, 5, "digest function 200 is not served"},
		"a function that is not here":  {BLAKE3, helloHash, 5, "digest function BLAKE3 is not served"},
		"no function":                  {Unknown, helloHash, 5, "digest function UNKNOWN is not served"},
		"a hash without end is cut":    {SHA256, strings.Repeat("a", 1000), 5, strings.Repeat("a", 100) + `"... has 1000`},
		"a hash in what is no UTF-8":   {SHA256, strings.Repeat("\xff", 64), 5, `\xff`},
		"the empty hash of one's size": {SHA256, emptyHash, -5, "negative"},
	} {
		d, err := New(c.fn, c.hash, c.size)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !d.IsZero() || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v; want %q", name, d, err, c.want)
		}
	}
}

func TestFromProto(t *testing.T) {
	for name, c := range map[string]struct {
		fn   Function
		in   *repb.Digest
		want Digest
		err  string
	}{
		"a blob":                          {SHA256, &repb.Digest{Hash: helloHash, SizeBytes: 5}, Of(SHA256, []byte("hello")), ""},
		"the empty blob":                  {SHA256, &repb.Digest{Hash: emptyHash}, SHA256.Empty(), ""},
		"nothing at all is the empty one": {SHA256, &repb.Digest{}, SHA256.Empty(), ""},
		"but not of a function not here":  {BLAKE3, &repb.Digest{}, Digest{}, "is not served"},
		"absent":                          {SHA256, nil, Digest{}, "digest is not set"},
		"a size without a hash":           {SHA256, &repb.Digest{SizeBytes: 5}, Digest{}, "has 0 characters"},
		"a hash without a size":           {SHA256, &repb.Digest{Hash: helloHash}, Digest{}, "size 0"},
	} {
		d, err := FromProto(c.fn, c.in)
		if d != c.want || (c.err == "") != (err == nil) || err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, %v; want %v, %q", name, d, err, c.want, c.err)
		}
	}
}

func TestParse(t *testing.T) {
	hello := Of(SHA256, []byte("hello"))
	for in, want := range map[string]string{ // what the error says; empty: hello
		helloHash + "/5":                    "",
		"sha256/" + helloHash + "/5":        "",
		helloHash:                           "want hash/size",
		"":                                  "want hash/size",
		"a/b/c":                             "want hash/size",
		"SHA256/" + helloHash + "/5":        "want hash/size",
		"unknown/" + helloHash + "/5":       "want hash/size",
		"blake3/" + helloHash + "/5":        "digest function BLAKE3 is not served here",
		"sha256/" + helloHash + "/5/6":      "is not a number of bytes",
		helloHash + "/":                     "is not a number of bytes",
		helloHash + "/05":                   "is not a number of bytes",
		helloHash + "/+5":                   "is not a number of bytes",
		helloHash + "/-5":                   "is not a number of bytes",
		helloHash + "/5 ":                   "is not a number of bytes",
		helloHash + "/9223372036854775808":  "is not a number of bytes",
		helloHash + "/00000000000000000005": "is not a number of bytes",
	} {
		d, err := Parse(in)
		if want == "" {
			if err != nil || d != hello {
				t.Errorf("%q: %v, %v", in, d, err)
			}
		} else if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", in, d, err, want)
		}
	}
	if d, err := Parse(helloHash + "/9223372036854775807"); err != nil || d.Size != 1<<63-1 {
		t.Errorf("the largest: %v, %v", d, err)
	}
}

func TestFunctions(t *testing.T) {
	for v := range repb.DigestFunction_Value_name {
		number := repb.DigestFunction_Value(v)
		f, ok := FunctionFromProto(number)
		served := number == repb.DigestFunction_SHA256 || number == repb.DigestFunction_UNKNOWN
		if ok != served || ok && f != SHA256 {
			t.Errorf("%v: %v, %t", number, f, ok)
		}
	}
	for _, v := range []repb.DigestFunction_Value{-1, 256, 257, 1 << 30} { // 257 is 1 in eight bits
		if f, ok := FunctionFromProto(v); ok {
			t.Errorf("%d is %v", v, f)
		}
	}
	if f, ok := FunctionByName("sha256"); !ok || f != SHA256 || f.Name() != "sha256" || f.Proto() != repb.DigestFunction_SHA256 || f.HexLen() != 64 {
		t.Errorf("sha256: %v, %t", f, ok)
	}
	for _, name := range []string{"", "SHA256", "sha-256", "md5", "unknown", "blake3"} {
		if f, ok := FunctionByName(name); ok {
			t.Errorf("%q is %v", name, f)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", helloHash + "/5", "sha256/" + emptyHash + "/0", "blake3/" + helloHash + "/5", "//", helloHash + "/99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || len(err.Error()) > 1000 {
				t.Fatal(err)
			}
			return
		}
		if again, err := Parse(d.String()); err != nil || again != d {
			t.Fatalf("%v became %v, %v", d, again, err)
		}
		if again, err := FromProto(d.Function, d.Proto()); err != nil || again != d {
			t.Fatalf("%v became %v, %v", d, again, err)
		}
		if s != d.String() && s != d.Function.Name()+"/"+d.String() {
			t.Fatalf("%q was taken for %v", s, d)
		}
	})
}
