package digest

import (
	"errors"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
)

const id = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

func TestParseResourceNames(t *testing.T) {
	hello := Of(SHA256, []byte("hello"))
	name := helloHash + "/5"
	for _, c := range []struct {
		in     string
		upload bool
		want   Resource
	}{
		{"blobs/" + name, false, Resource{Digest: hello}},
		{"/blobs/" + name, false, Resource{Digest: hello}}, // of the empty instance, as some write it
		{"main/blobs/" + name, false, Resource{Instance: "main", Digest: hello}},
		{"a/b/c/blobs/" + name, false, Resource{Instance: "a/b/c", Digest: hello}},
		{"main/blobs/sha256/" + name, false, Resource{Instance: "main", Digest: hello}},
		{"sha256/blobs/" + name, false, Resource{Instance: "sha256", Digest: hello}},
		{"blobs/" + emptyHash + "/0", false, Resource{Digest: SHA256.Empty()}},
		{"compressed-blobs/zstd/" + name, false, Resource{Compressor: repb.Compressor_ZSTD, Digest: hello}},
		{"main/compressed-blobs/deflate/sha256/" + name, false, Resource{Instance: "main", Compressor: repb.Compressor_DEFLATE, Digest: hello}},
		{"uploads/" + id + "/blobs/" + name, true, Resource{UploadID: id, Digest: hello}},
		{"main/uploads/" + id + "/blobs/" + name + "/a.o", true, Resource{Instance: "main", UploadID: id, Digest: hello, Metadata: "a.o"}},
		{"main/uploads/" + id + "/blobs/sha256/" + name + "/dir/blobs/1", true, Resource{Instance: "main", UploadID: id, Digest: hello, Metadata: "dir/blobs/1"}},
		{"uploads/" + id + "/blobs/" + name + "/", true, Resource{UploadID: id, Digest: hello}},
		{"main/uploads/" + id + "/compressed-blobs/zstd/" + name, true, Resource{Instance: "main", UploadID: id, Compressor: repb.Compressor_ZSTD, Digest: hello}},
	} {
		parse := ParseRead
		if c.upload {
			parse = ParseUpload
		}
		r, err := parse(c.in)
		if diff := cmp.Diff(c.want, r); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.in, err, diff)
		}
	}
}

func TestResourceNamesThatAreRefused(t *testing.T) {
	name := helloHash + "/5"
	for _, c := range []struct {
		in     string
		upload bool
		want   string
	}{
		{"", false, "neither blobs/ nor"},
		{"main/" + name, false, "neither blobs/ nor"},
		{"main/blobs", false, "want {hash}/{size}"},
		{"main/blobs/" + helloHash, false, "want {hash}/{size}"},
		{"main/blobs/" + name + "/a.o", false, `"/a.o" after the size`},
		{"main/blobs/" + name + "/", false, `"/" after the size`},
		{"main/blobs/blake3/" + name, false, "digest function BLAKE3 is not served"},
		{"main/blobs/" + strings.ToUpper(helloHash) + "/5", false, "lower-case"},
		{"main/blobs/" + helloHash + "/x", false, "is not a number of bytes"},
		{"main/blobs/" + helloHash + "/0", false, "size 0 belongs to the empty blob"},
		{"main/compressed-blobs", false, "no compressor"},
		{"main/compressed-blobs/" + name, false, "is not a compressor"},
		{"main/compressed-blobs/ZSTD/" + name, false, "is not a compressor"},
		{"main/compressed-blobs/zstd", false, "want {hash}/{size}"},
		{"main/uploads/" + id + "/blobs/" + name, false, "want {instance}/blobs/"},
		{"main/blobs/" + name, true, "want {instance}/uploads/"},
		{"main/uploads", true, "want {instance}/uploads/"},
		{"main/uploads/" + id, true, "no blobs/ or compressed-blobs/"},
		{"main/uploads/7/blobs/" + name, true, "is not a UUID"},
		{"main/uploads/" + id + "/chunks/" + name, true, `have "chunks"`},
		{"operations/blobs/" + name, false, `have "operations"`}, // a keyword in the instance
		{"a/actions/uploads/" + id + "/blobs/" + name, true, "want {instance}/uploads/"},
		{strings.Repeat("a", maxResourceName) + "/blobs/" + name, false, "longer than 4096 bytes"},
	} {
		parse := ParseRead
		if c.upload {
			parse = ParseUpload
		}
		_, err := parse(c.in)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v; want %q", c.in, err, c.want)
		}
	}
}

func TestNamesThatAreMadeAreThoseThatAreParsed(t *testing.T) {
	d := Of(SHA256, []byte("hello"))
	for _, instance := range []string{"", "main", "a/b"} {
		if r, err := ParseRead(ReadName(instance, d)); err != nil || r.Instance != instance || r.Digest != d {
			t.Errorf("read of %q: %+v, %v", instance, r, err)
		}
		if r, err := ParseUpload(UploadName(instance, id, d)); err != nil || r.Instance != instance || r.Digest != d || r.UploadID != id {
			t.Errorf("upload to %q: %+v, %v", instance, r, err)
		}
	}
}

func FuzzResourceName(f *testing.F) {
	f.Add("main/blobs/"+helloHash+"/5", false)
	f.Add("a/b/uploads/"+id+"/compressed-blobs/zstd/sha256/"+helloHash+"/5/meta/data", true)
	f.Add("blobs/blake3/"+helloHash+"/5", false)
	f.Add("uploads//blobs///", true)
	f.Fuzz(func(t *testing.T, name string, upload bool) {
		parse, again := ParseRead, func(r Resource) string { return ReadName(r.Instance, r.Digest) }
		if upload {
			parse, again = ParseUpload, func(r Resource) string { return UploadName(r.Instance, r.UploadID, r.Digest) }
		}
		r, err := parse(name)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || len(err.Error()) > 1000 {
				t.Fatal(err)
			}
			return
		}
		if upload == (r.UploadID == "") || r.Metadata != "" && !upload || !r.Digest.Function.Supported() {
			t.Fatalf("%q: %+v", name, r)
		}
		r.Compressor, r.Metadata = 0, ""
		if plain, err := parse(again(r)); err != nil || plain != r {
			t.Fatalf("%q: %+v became %+v, %v", name, r, plain, err)
		}
	})
}
