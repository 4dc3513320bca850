// Package history holds what was seen around the appliances while something
// was done to them, and judges it: every attempt of a client, every arrival at
// a foreign host, every decision of an operator, what is held and queued at
// the end, and the mail logs of both sides.
//
// It is no part of the product and knows none of it: what it knows of the
// appliances is what anybody sees from outside. Check is pure; the drivers of
// e2e/fault write the histories, the command e2e/check reads them.
package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// The observers.
const (
	Client   = "client"
	Sink     = "sink"
	Operator = "operator"
	Manager  = "manager"
	Gateway  = "gateway"
	Fault    = "fault"
)

// What was observed.
const (
	Acked   = "acked"   // client: 250 behind the final dot
	Refused = "refused" // client: 4xx or 5xx at any point, and the transaction is over
	Unknown = "unknown" // client: the connection died behind the dot

	Arrived = "arrived" // sink: whole content behind a final dot
	Refuses = "refuses" // sink, or DNS: refuses the addresses of To for good, or "@domain" all of a domain

	Released = "released" // operator: release confirmed
	Deleted  = "deleted"  // operator: delete confirmed
	Tried    = "tried"    // operator: about to be asked; written before

	Holds = "holds" // manager: a record, in the end; At is when it came in

	Queued      = "queued"      // gateway: still in the queue, in the end
	Undelivered = "undelivered" // gateway: kept after a failure for good, for the recipients of To

	Aside = "aside" // gateway: set aside or held back, in the end

	Killed = "killed" // fault: kill -9 of the appliance named in Appliance
	Other  = "other"  // fault: anything else, named in Note
)

// What the filters of the run make of a message.
const (
	Clean = "clean" // delivered
	Hold  = "hold"  // quarantined
	Copy  = "copy"  // delivered, and a copy quarantined
	Drop  = "drop"  // dropped
)

// Event is one line of a history.
type Event struct {
	At        time.Time `json:"at"`
	Who       string    `json:"who"`
	What      string    `json:"what"`
	Key       string    `json:"key,omitempty"`       // of the content: the local part of its Message-ID
	Appliance string    `json:"appliance,omitempty"` // host name of the gateway or manager that it is about
	MID       uint64    `json:"mid,omitempty"`       // at Appliance
	Class     string    `json:"class,omitempty"`     // client: what the filters make of it
	From      string    `json:"from,omitempty"`
	To        []string  `json:"to,omitempty"`
	Hash      string    `json:"hash,omitempty"`  // SHA-256 of the content as the client made it
	Size      int64     `json:"size,omitempty"`  // octets of it
	Added     string    `json:"added,omitempty"` // sink: what stands in front of the client's content
	Reply     string    `json:"reply,omitempty"` // client: the last reply

	Domains []string `json:"domains,omitempty"` // sink: what it takes mail for
	Conn    uint64   `json:"conn,omitempty"`    // sink: number of the connection

	// Cut says that the sink's reply behind the dot did not provably reach the
	// sender: nothing more was heard on the connection, or the sink itself broke
	// it off. Only then may the message come again.
	Cut bool `json:"cut,omitempty"`

	// Of a manager's record.
	Origin    string `json:"origin,omitempty"`     // host name of the gateway it came from
	OriginMID uint64 `json:"origin_mid,omitempty"` // there
	State     string `json:"state,omitempty"`
	Taken     int    `json:"taken,omitempty"` // recipients for whom the release was taken

	Note string `json:"note,omitempty"`
}

// Writer appends events to a file. Safe for concurrent use.
type Writer struct {
	mu  sync.Mutex
	f   *os.File
	b   *bufio.Writer
	err error
}

// Create starts a history file.
func Create(path string) (*Writer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &Writer{f: f, b: bufio.NewWriterSize(f, 1<<16)}, nil
}

// Add writes one event; an error comes out of Close.
func (w *Writer) Add(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	line, err := json.Marshal(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		_, err = w.b.Write(append(line, '\n'))
	}
	if w.err == nil {
		w.err = err
	}
}

// Close ends the file and gives the first error of all.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.b.Flush()
	if w.err == nil {
		w.err = err
	}
	if err := w.f.Close(); w.err == nil {
		w.err = err
	}
	return w.err
}

// Read reads events, one JSON object a line; an unknown field is an error.
func Read(r io.Reader) (all []Event, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return all, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, e)
	}
	return all, lines.Err()
}
