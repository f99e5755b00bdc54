package cas

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func FuzzRecord(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xa5}, recordBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < recordBytes {
			return
		}
		r := decodeRecord(b)
		var again [recordBytes]byte
		r.encode(again[:])
		if decodeRecord(again[:]) != r || !bytes.Equal(again[:], b[:recordBytes]) {
			t.Errorf("%x becomes %x", b[:recordBytes], again)
		}
	})
}

// FuzzPack reads garbage as a pack, and lays entries of any content into one.
func FuzzPack(f *testing.F) {
	f.Add(appendEntry(nil, kindBlob, testBlob(1, 10).Digest, content(1, 10)), []byte("data"))
	f.Add([]byte{1, 1, 0, 0, 255, 255, 255, 255}, []byte{})
	f.Fuzz(func(t *testing.T, pack, data []byte) {
		read := 0
		err := packBody{data: pack}.entries(func(e entry) error {
			read += entryHeader + len(e.data)
			_ = verifyEntry(e)
			return nil
		})
		if err != nil && !errors.Is(err, errDamaged) || err == nil && read != len(pack) {
			t.Errorf("%d of %d bytes: %v", read, len(pack), err)
		}
		good := appendEntry(nil, kindPiece, testBlob(1, 3).Digest, data)
		good = appendEntry(good, kindBlob, blobOf(data).Digest, data)
		n := 0
		if err := (packBody{data: good}).entries(func(e entry) error {
			n++
			if !bytes.Equal(e.data, data) {
				t.Errorf("have %x, want %x", e.data, data)
			}
			return nil
		}); err != nil || n != 2 {
			t.Errorf("%d entries: %v", n, err)
		}
	})
}

func FuzzList(f *testing.F) {
	places := []place{{1, 2, 3}, {4, 5, 6}}
	f.Add(encodeList(places), int64(9))
	f.Add([]byte{1, 0, 16, 0, 255, 255, 255, 255}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		places, err := decodeList(b, size)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Error(err)
			}
			return
		}
		again, err := decodeList(encodeList(places), size)
		if diff := cmp.Diff(places, again, cmp.AllowUnexported(place{})); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
		_ = backOf(3, places)
	})
}

// FuzzIndexFile opens garbage behind a right header: it must be refused, or read
// without a fault.
func FuzzIndexFile(f *testing.F) {
	f.Add(uint16(1), make([]byte, 200))
	f.Add(uint16(100), content(1, 6000))
	f.Fuzz(func(t *testing.T, n uint16, body []byte) {
		path := filepath.Join(t.TempDir(), runName(0, 1))
		r := &run{n: int(n)}
		r.layOut()
		data := make([]byte, r.size())
		copy(data[runHeader:], body)
		copy(data, runMagic)
		binary.LittleEndian.PutUint64(data[8:], uint64(n))
		binary.LittleEndian.PutUint32(data[runHeader-4:], crc32.Checksum(data[:runHeader-4], castagnoli()))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openRun(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.release()
		if err := r.verify(); err != nil && !errors.Is(err, errIndexDamaged) {
			t.Error(err)
		}
		p := protectionOf(DefaultProtectionWindow)
		for i := range min(r.n, 50) {
			rec := r.record(i)
			_, _, _ = r.find(rec.fp, rec.size, 2, &p)
		}
		_, _, _ = r.find(fingerprintOf(digest.Of(digest.SHA256, body)), int64(len(body)), 2, &p)
	})
}

func FuzzNames(f *testing.F) {
	f.Add(runName(0, 7))
	f.Add(generationName(9, laneKept))
	f.Fuzz(func(t *testing.T, name string) {
		if first, last, ok := parseRunName(name); ok && runName(first, last) != name {
			t.Errorf("%q is read as %q", name, runName(first, last))
		}
		if id, k, ok := parseGenerationName(name); ok && generationName(id, k) != name {
			t.Errorf("%q is read as %q", name, generationName(id, k))
		}
	})
}

func FuzzPointer(f *testing.F) {
	f.Add(pointer{offset: 5, length: 7}.encode())
	f.Add([]byte{pointerMark, pointerVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePointer(b)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Error(err)
			}
			return
		}
		if again, err := decodePointer(p.encode()); again != p || err != nil {
			t.Errorf("%+v becomes %+v, %v", p, again, err)
		}
	})
}
