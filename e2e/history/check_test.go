package history

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	gw  = "gw1.example.net"
	sma = "sma1.example.net"
)

// lines makes a log of "Info" lines.
func lines(appliance string, text ...string) *Log {
	l := NewLog(appliance)
	for i, t := range text {
		text[i] = "Fri Nov 27 22:54:52 2026 Info: " + t
	}
	if err := l.Read(strings.NewReader(strings.Join(text, "\n"))); err != nil {
		panic(err)
	}
	return l
}

// whole is a run in which everything is right: a clean message, one held, one
// released, one deleted, one copied, one dropped, one bounced for one of its
// recipients, one refused, one of unknown fate that came through.
func whole() *History {
	to := []string{"ann@a.example", "bob@b.example"}
	sent := func(key string, mid uint64, class, what string) Event {
		return Event{Who: Client, What: what, Key: key, MID: mid, Appliance: gw, Class: class, From: "x@client.example", To: to, Hash: "h-" + key, Reply: "250 ok"}
	}
	arrived := func(key string, i int) Event {
		return Event{Who: Sink, What: Arrived, Key: key, From: "x@client.example", To: to[i : i+1], Hash: "h-" + key,
			Added: "Received: from x\r\n by y\r\n", Domains: []string{to[i][4:]}}
	}
	record := func(key string, mid, of uint64, state string) Event {
		return Event{Who: Manager, What: Holds, Key: key, Appliance: sma, MID: mid, Origin: gw, OriginMID: of, State: state, Hash: "h-" + key, From: "x@client.example", To: to}
	}
	accepted := func(mid, key string) []string {
		return []string{"Start MID " + mid + " ICID 1", "MID " + mid + " ICID 1 RID 0 To: <ann@a.example>", "MID " + mid + " Message-ID '<" + key + "@client.example>'",
			"MID " + mid + " ready 99 bytes from <x@client.example>"}
	}
	var text []string
	for mid, key := range map[string]string{"1": "clean", "2": "held", "3": "free", "4": "gone", "5": "copied", "6": "dropped", "7": "half", "8": "maybe"} {
		text = append(text, accepted(mid, key)...)
		if key != "dropped" {
			text = append(text, "Message finished MID "+mid+" done")
		}
	}
	text = append(text, "MID 3 rewritten to MID 30 by Policy Quarantine", "Message finished MID 30 done", "Message aborted MID 6 Dropped by filter 'd'",
		"MID 50 was generated based on MID 5 by duplicate-quarantine filter 'c'", "Message finished MID 50 done",
		"Bounced: DCID 4 MID 7 to RID 1 - 5.1.1 - no such user ('550', ['no'])", "Message done DCID 4 MID 7 to RID [0]")
	h := &History{Logs: map[string]*Log{gw: lines(gw, text...), sma: lines(sma,
		"MID 100 (MID 2 of "+gw+") received for centralized quarantine",
		"MID 101 (MID 3 of "+gw+") received for centralized quarantine", "MID 101 released from all quarantines",
		"MID 102 (MID 4 of "+gw+") received for centralized quarantine", "MID 102 deleted from all quarantines",
		"MID 103 (MID 50 of "+gw+") received for centralized quarantine")}}
	h.Events = []Event{
		sent("clean", 1, Clean, Acked), arrived("clean", 0), arrived("clean", 1),
		sent("held", 2, Hold, Acked), record("held", 100, 2, "held"),
		sent("free", 3, Hold, Acked), {Who: Operator, What: Tried, Key: "free", Note: Released}, {Who: Operator, What: Released, Key: "free"},
		record("free", 101, 3, "released"), arrived("free", 0), arrived("free", 1),
		sent("gone", 4, Hold, Acked), {Who: Operator, What: Tried, Key: "gone", Note: Deleted}, {Who: Operator, What: Deleted, Key: "gone"}, record("gone", 102, 4, "deleted"),
		sent("copied", 5, Copy, Acked), arrived("copied", 0), arrived("copied", 1), record("copied", 103, 50, "held"),
		sent("dropped", 6, Drop, Acked),
		sent("half", 7, Clean, Acked), arrived("half", 0), {Who: Sink, What: Refuses, To: to[1:]},
		sent("maybe", 0, Clean, Unknown), arrived("maybe", 0), arrived("maybe", 1),
		sent("never", 0, Clean, Unknown),
		sent("no", 0, Clean, Refused),
		{Who: Fault, What: Killed, Appliance: gw, At: time.Now()}, {Who: Fault, What: Other, Note: "link down"},
	}
	return h
}

func TestWhole(t *testing.T) {
	r := Check(whole())
	if len(r.Violations) > 0 {
		t.Errorf("%v", r.Violations)
	}
	want := Report{Acked: 7, Refused: 1, Unknown: 2, Recovered: 1, Arrivals: 9, Held: 4, Released: 1, Deleted: 1, Bounced: 1, Kills: 1, Faults: 1, LogLines: r.LogLines}
	got := *r
	got.Violations = nil
	if got.LogLines < 40 || !equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func equal(a, b Report) bool { a.Violations, b.Violations = nil, nil; return a.line() == b.line() }

func (r Report) line() string {
	var b bytes.Buffer
	r.Write(&b)
	return b.String()
}

// find gives the n-th event about a key by an observer.
func (h *History) find(who, key string) *Event {
	for i := range h.Events {
		if e := &h.Events[i]; e.Who == who && e.Key == key {
			return e
		}
	}
	panic("no " + who + " about " + key)
}

func (h *History) without(e *Event) {
	var left []Event
	for i := range h.Events {
		if &h.Events[i] != e {
			left = append(left, h.Events[i])
		}
	}
	h.Events = left
}

// Each class of violation is found when it is there, and nothing else with it.
func TestEachClass(t *testing.T) {
	for _, c := range []struct {
		name string
		want Class
		do   func(h *History)
	}{
		{"an acknowledged message is nowhere", Lost, func(h *History) { h.without(h.find(Sink, "clean")) }},
		{"failed for good without a refusal", BouncedEarly, func(h *History) { h.without(h.find(Sink, "")) }},
		{"one of unknown fate came in half", Lost, func(h *History) { h.without(h.find(Sink, "maybe")) }},
		{"the manager lost one", Lost, func(h *History) { h.without(h.find(Manager, "held")) }},
		{"deleted by nobody", Lost, func(h *History) { h.find(Manager, "held").State = "deleted"; h.Logs[sma].Messages[100].Left = true }},
		{"released and gone on the way", Lost, func(h *History) { h.without(h.find(Sink, "free")) }},
		{"twice in the manager", DuplicatedIn, func(h *History) { h.Events = append(h.Events, *h.find(Manager, "held")) }},
		{"back under two numbers", ReleasedTwice, func(h *History) {
			h.Logs[gw].line("Fri Nov 27 22:54:52 2026 Info: MID 3 rewritten to MID 31 by Policy Quarantine")
			h.Logs[gw].line("Fri Nov 27 22:54:52 2026 Info: Message finished MID 31 done")
		}},
		{"twice outside", DuplicatedOut, func(h *History) { h.Events = append(h.Events, *h.find(Sink, "clean")) }},
		{"a released one twice outside", DuplicatedOut, func(h *History) { h.Events = append(h.Events, *h.find(Sink, "free")) }},
		{"two more with one cut", DuplicatedOut, func(h *History) {
			h.find(Sink, "clean").Cut = true
			e := *h.find(Sink, "clean")
			e.Cut = false
			h.Events = append(h.Events, e, e)
		}},
		{"deleted and delivered", Resurrected, func(h *History) {
			e := *h.find(Sink, "clean")
			e.Key, e.Hash = "gone", "h-gone"
			h.Events = append(h.Events, e)
		}},
		{"deleted and visible", Resurrected, func(h *History) { h.find(Manager, "gone").State = "held" }},
		{"from nobody", Unexpected, func(h *History) {
			e := *h.find(Sink, "clean")
			e.Key = "smuggled"
			h.Events = append(h.Events, e)
		}},
		{"in the manager from nobody", Unexpected, func(h *History) {
			e := *h.find(Manager, "held")
			e.Key = "smuggled"
			h.Events = append(h.Events, e)
		}},
		{"refused and delivered", Unexpected, func(h *History) { h.find(Client, "clean").What = Refused }},
		{"held and delivered", Unexpected, func(h *History) { h.find(Client, "held").Class = Hold; cloneArrival(h, "held") }},
		{"dropped and delivered", Unexpected, func(h *History) { cloneArrival(h, "dropped") }},
		{"content differs", Altered, func(h *History) { h.find(Sink, "clean").Hash = "other" }},
		{"what is added is no header", Altered, func(h *History) { h.find(Sink, "clean").Added = "no header\r\n" }},
		{"held content differs", Altered, func(h *History) { h.find(Manager, "held").Hash = "other" }},
		{"at the wrong host", Misrouted, func(h *History) { h.find(Sink, "clean").Domains = []string{"c.example"} }},
		{"from somebody else", Misrouted, func(h *History) { h.find(Sink, "clean").From = "y@client.example" }},
		{"held for others", Misrouted, func(h *History) { h.find(Manager, "held").To = []string{"eve@a.example", "bob@b.example"} }},
		{"no line at all", Unaccounted, func(h *History) { delete(h.Logs[gw].Messages, 1) }},
		{"no line of the end", Unaccounted, func(h *History) { h.Logs[gw].Messages[1].Finished = 0 }},
		{"no line at the manager", Unaccounted, func(h *History) { delete(h.Logs[sma].Messages, 100) }},
		{"no line of the release", Unaccounted, func(h *History) { h.Logs[sma].Messages[101].Left = false }},
		{"no line of the new number", Unaccounted, func(h *History) { h.Logs[gw].Messages[3].Rewritten = nil }},
	} {
		h := whole()
		h.Events = append([]Event(nil), h.Events...)
		c.do(h)
		r := Check(h)
		counts := r.Counts()
		if counts[c.want] == 0 {
			t.Errorf("%s: not found: %v", c.name, r.Violations)
		}
		delete(counts, c.want)
		if c.want == Misrouted { // what went wrong is missing where it belongs
			delete(counts, Lost)
		}
		if len(counts) > 0 {
			t.Errorf("%s: finds more: %v", c.name, maps.Collect(maps.All(counts)))
		}
	}
}

func cloneArrival(h *History, key string) {
	e := *h.find(Sink, "clean")
	e.Key, e.Hash = key, "h-"+key
	h.Events = append(h.Events, e)
}

// A copy that a fault in the transaction explains is counted and allowed.
func TestRepeatedByAFault(t *testing.T) {
	h := whole()
	h.find(Sink, "clean").Cut = true
	e := *h.find(Sink, "clean")
	e.Cut = false
	h.Events = append(h.Events, e)
	if r := Check(h); len(r.Violations) > 0 || r.Repeated != 1 {
		t.Errorf("repeated %d: %v", r.Repeated, r.Violations)
	}
}

// What is written is read back the same.
func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.jsonl")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	all := whole().Events
	for _, e := range all {
		w.Add(e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Read(f)
	if err != nil || len(got) != len(all) || got[1].Added != all[1].Added || got[0].To[1] != all[0].To[1] {
		t.Errorf("%d events, %v", len(got), err)
	}
	if _, err := Read(strings.NewReader("{\"who\":1}\n")); err == nil {
		t.Error("a broken line passes")
	}
}

// A killed process loses its last lines: those of what happened right before
// are counted, and no others.
func TestLinesLostByAKill(t *testing.T) {
	h := whole()
	killed := h.Events[len(h.Events)-2].At
	h.find(Client, "clean").At = killed.Add(-100 * time.Millisecond)
	h.Logs[gw].Messages[1].Finished = 0
	if r := Check(h); len(r.Violations) > 0 || r.LostLines != 1 {
		t.Errorf("%d: %v", r.LostLines, r.Violations)
	}
	for _, at := range []time.Time{killed.Add(-2 * time.Second), killed.Add(time.Millisecond)} {
		h.find(Client, "clean").At = at
		if r := Check(h); r.Counts()[Unaccounted] != 1 {
			t.Errorf("%v: %v", at, r.Violations)
		}
	}
}

// A failure for good is told by the log, or by what is kept.
func TestUndelivered(t *testing.T) {
	h := whole()
	h.Logs[gw].Messages[7].Bounced = nil
	if r := Check(h); r.Counts()[Lost] != 1 {
		t.Error(r.Violations)
	}
	h.Events = append(h.Events, Event{Who: Gateway, What: Undelivered, Key: "half", To: []string{"bob@b.example"}})
	if r := Check(h); len(r.Violations) > 0 || r.Bounced != 1 {
		t.Error(r.Violations)
	}
}
