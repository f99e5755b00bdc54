package filter

import (
	"strings"
	"time"
)

// wantTime is what is said about a time that does not parse.
const wantTime = "want an ISO 8601 time such as 2026-01-02T03:04:05Z"

// parseTime reads an ISO 8601 date, alone or with a time of day, extended
// (2026-01-02T03:04:05) or basic (20260102T030405); year, month, week and
// ordinal dates too. What is left out is the earliest; no zone means UTC.
func parseTime(s string) (at time.Time, wrong string) {
	datePart, timePart, hasTime := s, "", false
	if i := strings.IndexAny(s, "Tt "); i >= 0 {
		datePart, timePart, hasTime = s[:i], s[i+1:], true
	}
	day, ok := parseDate(datePart)
	if !ok {
		return time.Time{}, wantTime
	}
	if !hasTime {
		return day, ""
	}
	offset, ok := parseClock(timePart)
	if !ok {
		return time.Time{}, wantTime
	}
	at = day.Add(offset)
	if y := at.Year(); y < 1 || y > 9999 { // pushed over the edge by the zone or by 24:00
		return time.Time{}, wantTime
	}
	return at, ""
}

// parseDate reads YYYY, YYYY-MM, YYYY-MM-DD, YYYYMMDD, YYYY-DDD, YYYYDDD,
// YYYY-Www, YYYYWww, YYYY-Www-D and YYYYWwwD.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range [...]string{"2006-01-02", "20060102", "2006-01", "2006", "2006-002", "2006002"} {
		if len(s) == len(layout) {
			if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 {
				return t, true
			}
		}
	}
	return parseWeekDate(s)
}

func parseWeekDate(s string) (time.Time, bool) {
	year, rest, ok := strings.Cut(s, "W")
	extended := strings.HasSuffix(year, "-")
	y, okYear := number(strings.TrimSuffix(year, "-"), 4)
	if !ok || !okYear || y == 0 || len(rest) < 2 {
		return time.Time{}, false
	}
	week, okWeek := number(rest[:2], 2)
	day := 1
	if rest = rest[2:]; rest != "" {
		if extended != strings.HasPrefix(rest, "-") {
			return time.Time{}, false
		}
		day, ok = number(strings.TrimPrefix(rest, "-"), 1)
	}
	if !okWeek || !ok || day < 1 || day > 7 || week < 1 {
		return time.Time{}, false
	}
	fourth := time.Date(y, time.January, 4, 0, 0, 0, 0, time.UTC) // always in week 1
	monday := fourth.AddDate(0, 0, -(int(fourth.Weekday())+6)%7)
	at := monday.AddDate(0, 0, 7*(week-1)+day-1)
	if isoYear, isoWeek := at.ISOWeek(); isoYear != y || isoWeek != week {
		return time.Time{}, false
	}
	return at, true
}

// parseClock reads a time of day with an optional zone, as the time since
// midnight UTC of the same date. 24:00 is the end of the day.
func parseClock(s string) (time.Duration, bool) {
	zone := time.Duration(0)
	if rest, ok := strings.CutSuffix(strings.ToUpper(s), "Z"); ok {
		s = rest
	} else if i := strings.LastIndexAny(s, "+-"); i >= 0 {
		z, ok := parseHours(s[i+1:])
		if !ok || z >= 24*time.Hour {
			return 0, false
		}
		if zone = z; s[i] == '-' {
			zone = -z
		}
		s = s[:i]
	}
	s, fraction, hasFraction := cutFraction(s)
	d, ok := parseHours(s)
	if hasFraction && len(strings.ReplaceAll(s, ":", "")) != len("hhmmss") {
		return 0, false
	}
	if d += fraction; !ok || d > 24*time.Hour || fraction < 0 {
		return 0, false
	}
	return d - zone, true
}

// parseHours reads hh, hhmm, hh:mm, hhmmss and hh:mm:ss.
func parseHours(s string) (time.Duration, bool) {
	parts := strings.Split(s, ":")
	if len(parts) == 1 && len(s) > 2 && len(s)%2 == 0 {
		parts = parts[:0]
		for i := 0; i < len(s); i += 2 {
			parts = append(parts, s[i:i+2])
		}
	}
	if len(parts) > 3 {
		return 0, false
	}
	units := [...]time.Duration{time.Hour, time.Minute, time.Second}
	most := [...]int{24, 59, 59}
	d := time.Duration(0)
	for i, part := range parts {
		n, ok := number(part, 2)
		if !ok || n > most[i] {
			return 0, false
		}
		d += time.Duration(n) * units[i]
	}
	return d, true
}

// cutFraction takes the fraction of a second, after a point or comma, off s.
// Digits past the ninth are dropped; a malformed fraction is negative.
func cutFraction(s string) (rest string, fraction time.Duration, ok bool) {
	i := strings.IndexAny(s, ".,")
	if i < 0 {
		return s, 0, false
	}
	digits := s[i+1:]
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return s[:i], -1, true
	}
	n, _ := number((digits + "000000000")[:9], 9)
	return s[:i], time.Duration(n), true
}

// number reads exactly width decimal digits.
func number(s string, width int) (n int, ok bool) {
	if len(s) != width {
		return 0, false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
