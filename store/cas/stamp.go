package cas

import (
	"math"
	"time"
)

// stamp is the time of a blob's last use, in half seconds since the epoch below.
// It fits until 2067. 0 means never.
type stamp = uint32

// dead marks a record that is no longer there: quarantined, or a list whose
// pieces are gone.
const dead stamp = math.MaxUint32

const stampUnit = 500 * time.Millisecond

// stampEpoch is 1999-12-31 in milliseconds of Unix time: a day before the first
// moment of a testing/synctest bubble.
const stampEpoch = 946598400_000

func stampOf(t time.Time) stamp {
	return stamp(max((t.UnixMilli()-stampEpoch)/stampUnit.Milliseconds(), 1))
}

func (p protection) now() stamp { return stampOf(time.Now()) }

// protection knows how long a use protects. A use within the step after an
// earlier one is not written again, and callers may remember an answer for a
// bucket (see Store.Bucket); the horizon makes up for both.
type protection struct {
	window  time.Duration
	bucket  time.Duration
	step    stamp // uses closer together than this are one
	horizon stamp // a blob is protected while its stamp is not older
}

func protectionOf(window time.Duration) protection {
	bucket := max(window/12, 10*time.Millisecond)
	step := max(bucket/4/stampUnit, 1)
	return protection{
		window:  window,
		bucket:  bucket,
		step:    stamp(step),
		horizon: stamp((window+bucket+stampUnit-1)/stampUnit) + stamp(step) + 1,
	}
}

// holds tells whether a use at st still protects at now.
func (p protection) holds(st, now stamp) bool {
	return st != dead && st != 0 && st+p.horizon >= now
}

// until returns how long after now a use at st protects.
func (p protection) until(st, now stamp) time.Duration {
	return max(time.Duration(int64(st)+int64(p.horizon)-int64(now)+1)*stampUnit, 0)
}

// worthWriting tells whether a use at now must replace an earlier one at st.
func (p protection) worthWriting(st, now stamp) bool {
	return now > st && now-st >= p.step
}
