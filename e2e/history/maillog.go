package history

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Message is what a mail log says about one MID.
type Message struct {
	MessageID      string
	Started, Ready bool
	Recipients     int
	Finished       int // times: once is right
	Aborted        bool
	Done           map[uint64]int // RID: times a transaction with it was done
	Bounced        map[uint64]bool
	Deleted        map[uint64]bool
	Rewritten      []uint64 // the MIDs it was given back under
	Of             uint64   // was generated based on
	Enqueued       bool     // for a quarantine

	// At a manager.
	Origin    string
	OriginMID uint64
	Left      bool // released or deleted from all quarantines
	Gone      bool // of these: deleted
}

// Log is one appliance's mail log.
type Log struct {
	Appliance string
	Messages  map[uint64]*Message
	ByID      map[string][]uint64 // local part of the Message-ID: MIDs
	Lines     int
	Faults    []string // lines of level Critical
}

// ReadLogs reads the mail log in DIR/log/mail_logs, closed files first.
func ReadLogs(appliance, dir string) (*Log, error) {
	l := NewLog(appliance)
	var files []string
	for _, end := range []string{"s", "c"} {
		found, err := filepath.Glob(filepath.Join(dir, "log", "mail_logs", "mail.@*."+end))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	stem := func(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }
	sort.Slice(files, func(i, j int) bool { return stem(files[i]) < stem(files[j]) })
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = l.Read(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// NewLog gives a log without lines.
func NewLog(appliance string) *Log {
	return &Log{Appliance: appliance, Messages: map[uint64]*Message{}, ByID: map[string][]uint64{}}
}

// Read adds lines.
func (l *Log) Read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.line(lines.Text())
	}
	return lines.Err()
}

func (l *Log) message(mid uint64) *Message {
	m := l.Messages[mid]
	if m == nil {
		m = &Message{}
		l.Messages[mid] = m
	}
	return m
}

// stampLength is that of "Fri Nov 27 22:54:52 2026 ".
const stampLength = 25

func (l *Log) line(s string) {
	if len(s) < stampLength {
		return
	}
	l.Lines++
	level, text, _ := strings.Cut(s[stampLength:], ": ")
	if level == "Critical" {
		l.Faults = append(l.Faults, s)
		return
	}
	if level != "Info" {
		return
	}
	for _, p := range patterns {
		if rest, ok := strings.CutPrefix(text, p.start); ok {
			if mid, rest, ok := number(rest); ok {
				p.take(l, mid, rest)
			}
			return
		}
	}
	switch { // those with a connection in front
	case strings.HasPrefix(text, "Message done DCID "), strings.HasPrefix(text, "Bounced: DCID "):
		_, rest, _ := strings.Cut(text, " MID ")
		if mid, rest, ok := number(rest); ok {
			l.outcome(mid, rest, text[0] == 'B')
		}
	}
}

var patterns = []struct {
	start string
	take  func(l *Log, mid uint64, rest string)
}{
	{"Start MID ", func(l *Log, mid uint64, _ string) { l.message(mid).Started = true }},
	{"Message finished MID ", func(l *Log, mid uint64, _ string) { l.message(mid).Finished++ }},
	{"Message aborted MID ", func(l *Log, mid uint64, _ string) { l.message(mid).Aborted = true }},
	{"Deleted: MID ", func(l *Log, mid uint64, rest string) { mark(&l.message(mid).Deleted, rest) }},
	{"MID ", func(l *Log, mid uint64, rest string) { l.about(mid, rest) }},
}

// about reads lines that begin with a MID.
func (l *Log) about(mid uint64, rest string) {
	m := l.message(mid)
	switch {
	case strings.HasPrefix(rest, " Message-ID '"):
		id := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(rest, " Message-ID '"), "'"), "<>")
		m.MessageID = id
		key, _, _ := strings.Cut(id, "@")
		l.ByID[key] = append(l.ByID[key], mid)
	case strings.HasPrefix(rest, " ready "):
		m.Ready = true
	case strings.HasPrefix(rest, " enqueued for transfer to "):
		m.Enqueued = true
	case strings.HasPrefix(rest, " ICID ") && strings.Contains(rest, " RID ") && strings.Contains(rest, " To: <"):
		m.Recipients++
	case strings.HasPrefix(rest, " rewritten to MID "):
		if now, _, ok := number(rest[len(" rewritten to MID "):]); ok {
			m.Rewritten = append(m.Rewritten, now)
		}
	case strings.HasPrefix(rest, " was generated based on MID "):
		m.Of, _, _ = number(rest[len(" was generated based on MID "):])
	case strings.HasPrefix(rest, " (MID ") && strings.HasSuffix(rest, ") received for centralized quarantine"):
		of, where, _ := number(rest[len(" (MID "):])
		where, _, _ = strings.Cut(strings.TrimPrefix(where, " of "), ")")
		m.Origin, m.OriginMID = where, of
	case rest == " released from all quarantines":
		m.Left = true
	case rest == " deleted from all quarantines":
		m.Left, m.Gone = true, true
	}
}

// outcome reads what follows the MID in "... MID n to RID [0, 1] ..." and
// "Bounced: ... MID n to RID 0 - ...".
func (l *Log) outcome(mid uint64, rest string, bounced bool) {
	m := l.message(mid)
	rest = strings.TrimPrefix(rest, " to RID ")
	if bounced {
		if rid, _, ok := number(rest); ok {
			if m.Bounced == nil {
				m.Bounced = map[uint64]bool{}
			}
			m.Bounced[rid] = true
		}
		return
	}
	if m.Done == nil {
		m.Done = map[uint64]int{}
	}
	for _, rid := range list(rest) {
		m.Done[rid]++
	}
}

func mark(set *map[uint64]bool, rest string) {
	if *set == nil {
		*set = map[uint64]bool{}
	}
	for _, rid := range list(rest) {
		(*set)[rid] = true
	}
}

// list reads the first [0, 1, 2] of a text.
func list(s string) (all []uint64) {
	_, s, _ = strings.Cut(s, "[")
	s, _, _ = strings.Cut(s, "]")
	for _, f := range strings.Split(s, ", ") {
		if n, err := strconv.ParseUint(f, 10, 64); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// number reads the digits that a text begins with.
func number(s string) (n uint64, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.ParseUint(s[:i], 10, 64)
	return n, s[i:], err == nil
}
