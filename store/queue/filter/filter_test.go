package filter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name string
		in   string
		want Filter
	}{
		{"empty", "", Filter{}},
		{"only spaces", " \t\n", Filter{}},
		{"stage in any case", "stage=queued", Filter{Terms: []Term{{Key: Stage, Op: Equal, Stage: 2}}}},
		{"spaces between tokens", " stage != COMPLETED ", Unfinished()},
		{"every operator", "tool_name=a&tool_name!=a&tool_name<a&tool_name<=a&tool_name>a&tool_name>=a", Filter{Terms: []Term{
			{Key: ToolName, Op: Equal, Text: "a"},
			{Key: ToolName, Op: NotEqual, Text: "a"},
			{Key: ToolName, Op: Less, Text: "a"},
			{Key: ToolName, Op: LessOrEqual, Text: "a"},
			{Key: ToolName, Op: Greater, Text: "a"},
			{Key: ToolName, Op: GreaterOrEqual, Text: "a"},
		}}},
		{"time", "queued_time >= 2026-01-02T03:04:05Z", Filter{Terms: []Term{{Key: QueuedTime, Op: GreaterOrEqual, Time: at}}}},
		{"platform", "platform=OSFamily:linux", Filter{Terms: []Term{{Key: Platform, Op: Equal, Name: "OSFamily", Text: "linux"}}}},
		{"platform with a colon in the value", "platform=image:docker://a:1", Filter{Terms: []Term{{Key: Platform, Op: Equal, Name: "image", Text: "docker://a:1"}}}},
		{"bare characters", "target_id=//a/b:c-d_e.f(g)+h", Filter{Terms: []Term{{Key: TargetID, Op: Equal, Text: "//a/b:c-d_e.f(g)+h"}}}},
		{"quotes", `command = "gcc \"-c\" a\\b & é"`, Filter{Terms: []Term{{Key: Command, Op: Equal, Text: `gcc "-c" a\b & é`}}}},
		{"a whole name", "name=main/sub/1234-5", Filter{Terms: []Term{{Key: Name, Op: Equal, Text: "1234-5"}}}},
		{"digest", "action_digest=00ff/12", Filter{Terms: []Term{{Key: ActionDigest, Op: Equal, Text: "00ff/12"}}}},
		{"digest with its function", "action_digest=blake3/00ff/12", Filter{Terms: []Term{{Key: ActionDigest, Op: Equal, Text: "blake3/00ff/12"}}}},
		{"order", "sort_order=start_time(desc) & sort_order = name & sort_order=Stage(asc)", Filter{Order: []Sort{
			{Key: StartTime, Descending: true}, {Key: Name}, {Key: Stage},
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	tests := []struct {
		in   string
		pos  int
		want string
	}{
		{"stage", 5, "want one of = != < <= > >=, not the end"},
		{"stage=", 6, "want a value, not the end"},
		{"=queued", 0, `want a key, not "="`},
		{"stage==queued", 6, `want a value, not "="`},
		{"stage< =queued", 7, "want a value"},
		{"command=gcc -c", 12, `want & or the end, not "-c"`},
		{"stage=queued&", 13, "want a key, not the end"},
		{"stage=queued&&name=a", 13, `want a key, not "&"`},
		{"&stage=queued", 0, "want a key"},
		{"stage=queued,executing", 12, "unexpected ','"},
		{"flavour=sweet", 0, `unknown key "flavour"`},
		{"STAGE=queued", 0, "unknown key"},
		{"stage=ready", 6, "want UNKNOWN, CACHE_CHECK, QUEUED, EXECUTING or COMPLETED"},
		{"platform=linux", 9, "want name:value"},
		{"platform=:linux", 9, "want name:value"},
		{"platform=os:", 9, "want name:value"},
		{"action_digest=xyz/1", 14, "want hash/size"},
		{"action_digest=abc", 14, "want hash/size"},
		{"queued_time=yesterday", 12, "want an ISO 8601 time"},
		{"queued_time=2026-02-30", 12, "want an ISO 8601 time"},
		{"sort_order!=name", 10, "sort_order takes = only"},
		{"sort_order=flavour", 11, "no sort key"},
		{"sort_order=(desc)", 11, "no sort key"},
		{`"stage"=queued`, 0, "want a key, not a quoted value"},
		{`command="gcc`, 8, "the quotes are not closed"},
		{`command="a\n"`, 10, "a backslash in quotes"},
		{"stage=é", 6, "unexpected 'é'"},
		{"stage=\xff", 0, "not UTF-8"},
		{`name="a b"`, 5, "want the name of an operation"},
		{strings.Repeat("a", MaxLength+1), MaxLength, "longer than"},
		{strings.TrimSuffix(strings.Repeat("stage=queued&", MaxTerms+1), "&"), 13 * MaxTerms, "more than 64 terms"},
	}
	for _, tt := range tests {
		t.Run(clip(tt.in), func(t *testing.T) {
			_, err := Parse(tt.in)
			var se *SyntaxError
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &se) {
				t.Fatalf("Parse = %v, want a *SyntaxError", err)
			}
			if se.Pos != tt.pos || !strings.Contains(se.Msg, tt.want) {
				t.Errorf("Parse: at %d %q, want at %d %q", se.Pos, se.Msg, tt.pos, tt.want)
			}
		})
	}
}

func TestParseTime(t *testing.T) {
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		in   string
		want time.Time // zero: refused
	}{
		{"2026", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"2026-11", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		{"2026-11-24", day},
		{"20261124", day},
		{"2026-328", day},
		{"2026328", day},
		{"2026-W48-2", day},
		{"2026W482", day},
		{"2026-W01", time.Date(2025, 12, 29, 0, 0, 0, 0, time.UTC)},
		{"2020-W53-7", time.Date(2021, 1, 3, 0, 0, 0, 0, time.UTC)},
		{"2026-W53-7", time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC)},
		{"2025-W53", time.Time{}},
		{"2026-W482", time.Time{}},
		{"2026-W48-8", time.Time{}},
		{"2026-11-24T10", day.Add(10 * time.Hour)},
		{"2026-11-24t10:30", day.Add(10*time.Hour + 30*time.Minute)},
		{"20261124T103015", day.Add(10*time.Hour + 30*time.Minute + 15*time.Second)},
		{"2026-11-24T10:30:15.25", day.Add(10*time.Hour + 30*time.Minute + 15250*time.Millisecond)},
		{"2026-11-24T10:30:15,1234567891", day.Add(10*time.Hour + 30*time.Minute + 15*time.Second + 123456789)},
		{"2026-11-24T10:30:15z", day.Add(10*time.Hour + 30*time.Minute + 15*time.Second)},
		{"2026-11-24T10:30+02:00", day.Add(8*time.Hour + 30*time.Minute)},
		{"2026-11-24T10:30-0130", day.Add(12 * time.Hour)},
		{"2026-11-24T10+05", day.Add(5 * time.Hour)},
		{"2026-11-24T24:00", day.Add(24 * time.Hour)},
		{"2026-11-24T24:01", time.Time{}},
		{"2026-11-24T25:00", time.Time{}},
		{"2026-11-24T10:60", time.Time{}},
		{"2026-11-24T10:30.5", time.Time{}},
		{"2026-11-24T10:30:15.", time.Time{}},
		{"2026-11-24T", time.Time{}},
		{"2026-13-01", time.Time{}},
		{"2026-11-24T10:30+25:00", time.Time{}},
		{"0000-01-01", time.Time{}},
		{"26-11-24", time.Time{}},
		{"9999-12-31T24:00", time.Time{}},
		{"0001-01-01T00+01", time.Time{}},
		{"", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, wrong := parseTime(tt.in)
			if (wrong != "") != tt.want.IsZero() || !got.Equal(tt.want) {
				t.Errorf("parseTime(%q) = %v, %q; want %v", tt.in, got, wrong, tt.want)
			}
		})
	}
}

func TestAnEmptyFilterMeansUnfinished(t *testing.T) {
	if got := (Filter{}).OrUnfinished(); !cmp.Equal(got, Unfinished()) {
		t.Errorf("empty filter became %#v", got)
	}
	ordered := Filter{Order: []Sort{{Key: Name}}}
	if got := ordered.OrUnfinished(); !cmp.Equal(got, ordered) {
		t.Errorf("an order alone became %#v; BuildGrid adds no stage to it", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "stage=queued & name!=a", `command="a \" b"&sort_order=queued_time(desc)`, "platform=a:b",
		"queued_time<2026-W48-2T10:30:15.25+02:00", "action_digest=ab/1", "a==b", "\"", "stage=\\",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err != nil {
			var se *SyntaxError
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &se) || se.Pos < 0 || se.Pos > len(s) {
				t.Fatalf("Parse(%q): %v", s, err)
			}
			return
		}
		again, err := Parse(got.String())
		if err != nil {
			t.Fatalf("Parse(%q) of the form of %q: %v", got.String(), s, err)
		}
		if !cmp.Equal(got, again) {
			t.Fatalf("%q: %#v became %#v", s, got, again)
		}
	})
}
