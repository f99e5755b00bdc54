package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// TestPushSendsOnlyWhatIsMissing pushes an image, the same again, and one that
// differs in one file.
func TestPushSendsOnlyWhatIsMissing(t *testing.T) {
	var base []tar.Header
	for i := range 300 {
		base = append(base, file(fmt.Sprintf("usr/share/%d/%d", i%10, i), fmt.Sprint("content ", i)))
	}
	base = append(base, file("big", strings.Repeat("0123456789", 300_000)), file("same", "content 1"))
	cas, c := newCAS(t)
	push := func(layers ...[]byte) PushStats {
		t.Helper()
		p, before, temp := &Progress{}, cas.writes, t.TempDir()
		im := open(t, layoutOf(t, imageOf(t, layers...)), Options{Progress: p, TempDir: temp})
		opened := countOpens(im)
		_, stats, err := im.Push(t.Context(), c)
		must(t, err)
		if reads := opened.Load(); (stats.SentBlobs == 0) != (reads == int64(len(layers))) {
			t.Errorf("%d layers were read %d times to send %d blobs", len(layers), reads, stats.SentBlobs)
		}
		if int64(cas.writes-before) != stats.SentBlobs {
			t.Errorf("%d blobs arrived, %d were counted", cas.writes-before, stats.SentBlobs)
		}
		if s := p.State(); s.Phase != "upload" || s.Done != s.All || s.Bytes != s.AllBytes || s.All != stats.SentBlobs {
			t.Errorf("at the end the progress is %+v", s)
		}
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("left in the temporary directory: %v", left)
		}
		return stats
	}
	lower := layerOf(t, base...)
	first := push(lower)
	if want := int64(300 + 1 + 10 + 3); first.Blobs != want || first.SentBlobs != want {
		t.Errorf("first: %d of %d blobs, want %d", first.SentBlobs, first.Blobs, want)
	}
	if again := push(lower); again.SentBlobs != 0 || again.Blobs != first.Blobs {
		t.Errorf("again: %d of %d blobs", again.SentBlobs, again.Blobs)
	}
	// The file, and the directories on the way to it.
	if changed := push(lower, layerOf(t, file("usr/share/3/3", "changed"))); changed.SentBlobs != 1+4 {
		t.Errorf("one file changed: %d blobs", changed.SentBlobs)
	}
}

// TestPushSendsNothingThatWasHidden: what upper layers remove may be secret.
func TestPushSendsNothingThatWasHidden(t *testing.T) {
	cas, c := newCAS(t)
	im := open(t, layoutOf(t, imageOf(t, layerOf(t, file("secret", "key"), file("a", "1")), layerOf(t, file(".wh.secret", "")))), Options{})
	_, _, err := im.Push(t.Context(), c)
	must(t, err)
	for _, data := range cas.blobs {
		if string(data) == "key" {
			t.Error("the hidden file was uploaded")
		}
	}
}

func TestPushTellsWhyItFails(t *testing.T) {
	cas, c := newCAS(t)
	cas.fault = status.Error(codes.PermissionDenied, "read only")
	temp := t.TempDir()
	im := open(t, layoutOf(t, imageOf(t, layerOf(t, file("big", strings.Repeat("x", 2<<20)), file("a", "1")))), Options{TempDir: temp})
	if _, _, err := im.Push(t.Context(), c); err == nil || !strings.Contains(err.Error(), "read only") {
		t.Errorf("have %v", err)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left in the temporary directory: %v", left)
	}
}

// countOpens counts how often the layers of an image are opened.
func countOpens(im *Image) *atomic.Int64 {
	var opened atomic.Int64
	for _, l := range im.layers {
		open := l.open
		l.open = func(ctx context.Context) (io.ReadCloser, error) {
			opened.Add(1)
			return open(ctx)
		}
	}
	return &opened
}

// TestAChangedLayerIsNotSent lets a layer change between its readings.
func TestAChangedLayerIsNotSent(t *testing.T) {
	im := open(t, layoutOf(t, imageOf(t, layerOf(t, file("a", "1"), file("b", "2")))), Options{})
	other := open(t, layoutOf(t, imageOf(t, layerOf(t, file("a", "1"), file("b", "3")))), Options{})
	cas, c := newCAS(t)
	opened, first := countOpens(im), im.layers[0].open
	im.layers[0].open = func(ctx context.Context) (io.ReadCloser, error) {
		if opened.Load() > 0 {
			return other.layers[0].open(ctx)
		}
		return first(ctx)
	}
	if _, _, err := im.Push(t.Context(), c); !errors.Is(err, client.ErrChanged) || cas.writes > 0 {
		t.Errorf("have %v, and %d blobs arrived", err, cas.writes)
	}
}

// TestBatchesAreBounded sends more than one batch, in numbers and in bytes, and
// wants the first to have arrived before all was read.
func TestBatchesAreBounded(t *testing.T) {
	var members []tar.Header
	for i := range batchBlobs + 10 {
		members = append(members, file(fmt.Sprint("f", i), fmt.Sprint(i)))
	}
	for i := range 40 {
		members = append(members, file(fmt.Sprint("m", i), strings.Repeat(string(rune('0'+i)), 900<<10)))
	}
	plain := filepath.Join(t.TempDir(), "plain.tar")
	uncompressed(t, dockerArchive(t, imageOf(t, layerOf(t, members...)), "a:b"), plain, func([]byte) {})
	cas, c := newCAS(t)
	im := open(t, plain, Options{})
	inner, readings := im.layers[0].open, 0
	atEnd := 0
	im.layers[0].open = func(ctx context.Context) (io.ReadCloser, error) {
		readings++
		r, err := inner(ctx)
		return &watched{r, func() {
			cas.mu.Lock()
			defer cas.mu.Unlock()
			atEnd = cas.writes
		}}, err
	}
	_, stats, err := im.Push(t.Context(), c)
	must(t, err)
	if int64(len(cas.blobs)) != stats.Blobs || readings != 2 || atEnd < batchBlobs+20 {
		t.Errorf("the server has %d of %d blobs after %d readings, and had %d before the end of the last", len(cas.blobs), stats.Blobs, readings, atEnd)
	}
}

// watched tells of each reading.
type watched struct {
	io.ReadCloser
	tell func()
}

func (w *watched) Read(b []byte) (int, error) {
	w.tell()
	return w.ReadCloser.Read(b)
}

// TestMemoryDoesNotGrowWithFiles unpacks a file much larger than what it may take.
func TestMemoryDoesNotGrowWithFiles(t *testing.T) {
	at := layoutOf(t, imageOf(t, layerOf(t, file("zeros", string(make([]byte, 64<<20))))))
	im := open(t, at, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := im.Build(t.Context(), filepath.Join(t.TempDir(), "root"))
	must(t, err)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MiB were allocated for a file of 64 MiB", grown>>20)
	}
}

func TestBuildWantsADirectoryOfItsOwn(t *testing.T) {
	at := t.TempDir()
	must(t, os.WriteFile(filepath.Join(at, "mine"), []byte("mine"), 0o600))
	im := open(t, layoutOf(t, imageOf(t, layerOf(t, file("a", "1")))), Options{})
	if _, err := im.Build(t.Context(), at); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("have %v", err)
	}
	if have := listing(t, at); !strings.Contains(have, `mine "mine"`) || strings.Contains(have, " a ") {
		t.Errorf("it was changed: %s", have)
	}
}

func TestAnInterruptedBuildLeavesNothing(t *testing.T) {
	at := filepath.Join(t.TempDir(), "root")
	im := open(t, layoutOf(t, imageOf(t, layerOf(t, file("d/a", "1"), file("b", "1")))), Options{})
	im.progress = &Progress{}
	ctx, cancel := context.WithCancel(t.Context())
	layers := im.layers
	first := *layers[0]
	opened := 0
	inner := first.open
	first.open = func(ctx context.Context) (io.ReadCloser, error) {
		if opened++; opened == 2 { // the model was read, files are being written
			cancel()
		}
		return inner(ctx)
	}
	im.layers = []*layer{&first}
	if _, err := im.Build(ctx, at); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v", err)
	}
	if entries, err := os.ReadDir(at); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestOrdinaryUsersGetTheSameTree builds in a process without privileges, when this
// one has some.
func TestOrdinaryUsersGetTheSameTree(t *testing.T) {
	const variable = "BGRID_TEST_BUILD"
	if from := os.Getenv(variable); from != "" {
		_, d, _ := build(t, open(t, from, Options{}))
		fmt.Println("digest", d)
		return
	}
	from := dockerArchive(t, imageOf(t, layerOf(t,
		dir("closed", 0), fileMode("closed/shadow", "secret", 0), fileMode("suid", "x", 0o6755), dir("dev", 0o755),
		special("dev/null", tar.TypeChar), fileMode("ro/x", "1", 0o444), dir("ro", 0o555), link("l", "/root"), hard("h", "suid"))), "a:b")
	_, want, _ := build(t, open(t, from, Options{}))
	temp, err := os.MkdirTemp("", "bgrid-user-")
	must(t, err)
	defer os.RemoveAll(temp) //nolint:errcheck // a test's
	binary, image := filepath.Join(temp, "images.test"), filepath.Join(temp, "image.tar")
	copyFile(t, os.Args[0], binary)
	copyFile(t, from, image)
	home := filepath.Join(temp, "home")
	must(t, os.Mkdir(home, 0o777))
	cmd := exec.Command(binary, "-test.run=^TestOrdinaryUsersGetTheSameTree$") //nolint:gosec // this test
	cmd.Env = []string{variable + "=" + image, "TMPDIR=" + home, "HOME=" + home}
	cmd.Dir = home
	if os.Geteuid() == 0 {
		must(t, os.Chmod(temp, 0o755))
		must(t, os.Chmod(home, 0o777))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "digest "+want.String()) {
		t.Errorf("an ordinary user: %v\n%s\nwant %s", err, out, want)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o755)) //nolint:gosec // others have to run it
	must(t, os.Chmod(to, 0o755))           //nolint:gosec // the same
}
