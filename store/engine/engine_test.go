package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestAnEmptyLogDoesNotKeepBadgerFromOpening makes what a kill leaves between
// the two steps in which Badger makes a log.
func TestAnEmptyLogDoesNotKeepBadgerFromOpening(t *testing.T) {
	dir := t.TempDir()
	options := badger.DefaultOptions(dir).WithLogger(nil)
	write := func() {
		t.Helper()
		db, err := badger.Open(options)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("key"), []byte("value")) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if db, err := badger.Open(options); err == nil {
		_ = db.Close()
		t.Fatal("Badger opens with empty logs by itself: RemoveEmptyLogs is not needed any more")
	}
	if err := RemoveEmptyLogs(dir); err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(txn *badger.Txn) error {
		_, err := txn.Get([]byte("key"))
		return err
	})
	if err != nil {
		t.Errorf("what was written before: %v", err)
	}
}
