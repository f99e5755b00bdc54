package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		state progressLine
		took  time.Duration
		want  string
	}{
		{progressLine{unit: "blobs", done: 1, all: 4, bytes: 512, allBytes: 2048}, time.Second,
			"upload [######..................] 1/4 blobs, 512 B of 2.0 KiB, 512 B/s"},
		{progressLine{unit: "blobs", all: 1}, time.Second, "upload [........................] 0/1 blobs, 0 B of 0 B, 0 B/s"},
		{progressLine{unit: "blobs", done: 3, all: 3, bytes: 3 << 30, allBytes: 3 << 30}, 2 * time.Second,
			"upload [########################] 3/3 blobs, 3.0 GiB of 3.0 GiB, 1.5 GiB/s"},
		{progressLine{unit: "blobs", done: 1, all: 1, bytes: 20, allBytes: 10}, time.Second, // sent twice after a break
			"upload [########################] 1/1 blobs, 20 B of 10 B, 20 B/s"},
		{progressLine{unit: "images", all: 1, bytes: 2048}, time.Second, // of no known length
			"upload [........................] 0/1 images, 2.0 KiB, 2.0 KiB/s"},
	} {
		if have := barLine("upload", c.state, c.took); have != c.want {
			t.Errorf("have %q\nwant %q", have, c.want)
		}
	}
}

func TestNoBarBesideATerminal(t *testing.T) {
	var out bytes.Buffer
	showProgress(&out, "upload", &client.Progress{})()
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

// A failure of the remote command is never success here, whatever its number.
func TestExitCodesStayFailures(t *testing.T) {
	for remote, want := range map[int32]int{1: 1, 137: 137, 255: 255, 256: 1, -1: 255, 512: 1} {
		if have := exitCode(remote); have != want {
			t.Errorf("%d becomes %d, want %d", remote, have, want)
		}
	}
}
