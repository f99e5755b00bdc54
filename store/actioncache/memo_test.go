package actioncache

import "testing"

type weight int

func (w weight) bytes() int { return int(w) }

// What was read before a key was dropped may be what was there before.
func TestWhatWasReadBeforeADropIsNotRemembered(t *testing.T) {
	m := newMemo[string, weight](1 << 20)
	_, version, _ := m.get("k")
	m.drop("k")
	if _, ok := m.put("k", 7, version); ok {
		t.Error("a value that was read before the drop is remembered")
	}
	_, version, ok := m.get("k")
	if ok {
		t.Error("it can be read")
	}
	if v, ok := m.put("k", 8, version); !ok || v != 8 {
		t.Errorf("put after the drop: %d, %t", v, ok)
	}
	if v, _ := m.put("k", 9, version); v != 8 {
		t.Errorf("the earlier of two puts does not win: %d", v)
	}
}

func TestMemoKeepsWhatIsInUse(t *testing.T) {
	const most = 8 * 2 * 1000
	m := newMemo[int, weight](most)
	m.put(-1, 10, 0)
	for i := range 10_000 {
		_, version, _ := m.get(i)
		m.put(i, weight(1+i%50), version)
		if _, _, ok := m.get(-1); !ok {
			t.Fatalf("what is in use was forgotten after %d", i)
		}
		if m.size() > most {
			t.Fatalf("%d bytes after %d, the bound is %d", m.size(), i, most)
		}
		if i%3 == 0 {
			m.drop(i)
		}
	}
	_, version, _ := m.get(-2)
	m.put(-2, most, version)
	if _, _, kept := m.get(-2); kept {
		t.Error("a value larger than the memory is kept")
	}
}
