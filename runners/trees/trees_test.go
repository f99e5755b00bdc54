package trees

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func newCache(t interface {
	Fatal(...any)
	Helper()
}, dir string, most int64) *Cache {
	t.Helper()
	c, err := New(Options{Dir: dir, MaxBytes: most, Remove: func(_ int, name string) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func filler(bytes int64, calls *atomic.Int64) Fill {
	return func(_ context.Context, path string) (int64, any, error) {
		calls.Add(1)
		return bytes, nil, os.WriteFile(filepath.Join(path, "f"), nil, 0o644)
	}
}

func TestATreeIsFilledOnceForAllWhoAskAtATime(t *testing.T) {
	c := newCache(t, filepath.Join(t.TempDir(), "trees"), 100)
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			tree, err := c.Get(context.Background(), "k", filler(1, &calls))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(tree.Path, "f")); err != nil {
				t.Error(err)
			}
			tree.Release()
			tree.Release() // once is enough, twice does no harm
		})
	}
	wg.Wait()
	if calls.Load() != 1 {
		t.Errorf("it was filled %d times", calls.Load())
	}
}

func TestWhoWaitsForAFailedFillTriesItself(t *testing.T) {
	c := newCache(t, filepath.Join(t.TempDir(), "trees"), 100)
	broken := errors.New("broken")
	started, fail := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := c.Get(context.Background(), "k", func(context.Context, string) (int64, any, error) {
			close(started)
			<-fail
			return 0, nil, broken
		})
		done <- err
	}()
	<-started
	var calls atomic.Int64
	waiter := make(chan error, 1)
	go func() {
		tree, err := c.Get(context.Background(), "k", filler(1, &calls))
		if err == nil {
			tree.Release()
		}
		waiter <- err
	}()
	close(fail)
	if err := <-done; !errors.Is(err, broken) {
		t.Errorf("who failed: %v", err)
	}
	if err := <-waiter; err != nil || calls.Load() != 1 {
		t.Errorf("who waited: %v, %d fills", err, calls.Load())
	}
}

func TestAWaiterThatGivesUpLeavesTheTree(t *testing.T) {
	c := newCache(t, filepath.Join(t.TempDir(), "trees"), 0)
	started, finish := make(chan struct{}), make(chan struct{})
	done := make(chan *Tree, 1)
	go func() {
		tree, _ := c.Get(context.Background(), "k", func(context.Context, string) (int64, any, error) {
			close(started)
			<-finish
			return 1, nil, nil
		})
		done <- tree
	}()
	<-started
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Get(ctx, "k", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(finish)
	tree := <-done
	if _, err := os.Stat(tree.Path); err != nil {
		t.Error(err)
	}
	tree.Release()
	if n, _ := c.Usage(); n != 0 {
		t.Errorf("%d trees are left where none may be kept", n)
	}
}

// TestTreesInUseStayAndTheRestIsBounded plays users at random.
func TestTreesInUseStayAndTheRestIsBounded(t *testing.T) {
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		const most = 10
		dir := filepath.Join(base, string(rune('a'+round%26))+t.Name()[:1], "")
		_ = os.RemoveAll(dir)
		_ = os.MkdirAll(filepath.Dir(dir), 0o755)
		c := newCache(t, dir, most)
		defer c.Close()
		var calls atomic.Int64
		var using []*Tree
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(using) > 0 && rapid.Bool().Draw(t, "release") {
				i := rapid.IntRange(0, len(using)-1).Draw(t, "which")
				using[i].Release()
				using = append(using[:i], using[i+1:]...)
			} else {
				key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key")
				tree, err := c.Get(context.Background(), key, filler(4, &calls))
				if err != nil {
					t.Fatal(err)
				}
				using = append(using, tree)
			}
			if rapid.IntRange(0, 9).Draw(t, "room") == 0 {
				c.MakeRoom()
			}
			distinct := map[string]bool{}
			for _, tree := range using {
				distinct[tree.Path] = true
				if _, err := os.Stat(filepath.Join(tree.Path, "f")); err != nil {
					t.Fatalf("a tree in use is gone: %v", err)
				}
			}
			entries, err := os.ReadDir(dir)
			n, bytes := c.Usage()
			if err != nil || len(entries) != n || bytes != int64(4*n) {
				t.Fatalf("%d trees of %d bytes, on disk %d, %v", n, bytes, len(entries), err)
			}
			if bytes > most && n > len(distinct) {
				t.Fatalf("%d trees are kept, %d in use, with room for %d bytes", n, len(distinct), most)
			}
		}
	})
}
