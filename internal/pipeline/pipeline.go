// Package pipeline judges accepted messages: the order of the stages (reference
// 7.3), ending in a disposition for each part of a message.
//
// The sender of mail from outside is authenticated, if that is wanted, when a
// filter asks or behind them. Message filters see the whole message. Then it is split by mail policy, and
// each part goes through the stages of its policy: anti-spam, antivirus. A quarantine only
// flags; what is dropped later is dropped.
//
// It decides and writes the lines of what it decided; it moves nothing. It
// promises that a message is judged whole or not at all: what could not be read
// or scanned is an error, and the message stays in the work queue (promise P3).
// Judging again after a crash gives the same dispositions for the same settings.
package pipeline

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"lazaret/internal/filter"
	"lazaret/internal/filter/dlp"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Engine is an antivirus engine. A zero hash asks it anew, whatever it
// remembers. An error is one of the content or of ctx;
// whatever goes wrong at the engine is an unscanned Scan.
type Engine interface {
	Scan(ctx context.Context, hash mail.Hash, size int64, open func() (io.ReadCloser, error)) (mail.Scan, error)
}

// SpamEngine is an anti-spam engine. An error is one of the content or of ctx;
// whatever goes wrong at the engine is an unknown Spam.
type SpamEngine interface {
	Spam(ctx context.Context, in Input) (mail.Spam, error)
}

// Options of a pipeline.
type Options struct {
	Log     *logs.Mail
	NextMID func() mail.MID // numbers for the parts of a message

	// HoldAmbiguous is the quarantine for messages that two readers would
	// understand differently, or that could not be looked at to their end, when
	// no filter held or dropped them and their mail policy says nothing else. ""
	// lets them pass unseen, whatever the policies say.
	HoldAmbiguous string

	Now       func() time.Time           // nil: time.Now
	WorkQueue func() int                 // messages that wait for judgement; nil: none
	Kind      func(head []byte) []string // what a file is by its first KindBytes: name and group; nil: nobody knows
	Opener    Opener                     // nil: archives and documents are not opened

	Reputation Reputation // of clients; nil: nobody says anything
}

// KindBytes is how much of a file Options.Kind is given.
const KindBytes = 33 << 10

// Settings are what a commit changes.
type Settings struct {
	Filters           *filter.Set
	Inbound, Outbound *policy.Table
	Content           map[policy.Key]*filter.Set // content filters of policies; one that is missing has none
	Engine            Engine                     // nil: none
	Spam              SpamEngine                 // nil: none
	DLP               map[policy.Key]*dlp.Set    // of outbound policies; one that is missing has none
	Analyser          Analyser                   // nil: attachments are not analysed
	Auth              Authenticator              // nil: senders are not authenticated
	OutbreakMax       int64                      // larger messages are not held against outbreak rules; 0: none is too large
	HoldDMARC         string                     // the quarantine for what fails a DMARC policy of quarantine or reject; "": none

	counts filter.Counted // by the filters
}

// table gives the table for mail of an origin.
func (s *Settings) table(from mail.Origin) *policy.Table {
	if from.Relay {
		return s.Outbound
	}
	return s.Inbound
}

// Pipeline judges messages. Safe for concurrent use.
type Pipeline struct {
	o        Options
	settings atomic.Pointer[Settings]
	threats  atomic.Pointer[Threats]
	collect  chan struct{} // whoever has a file in memory
	repeats  *repeats
}

// New makes a pipeline without filters, with DEFAULT policies that scan nothing.
func New(o Options) *Pipeline {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.WorkQueue == nil {
		o.WorkQueue = func() int { return 0 }
	}
	p := &Pipeline{o: o, collect: make(chan struct{}, maxCollect), repeats: newRepeats()}
	p.Set(Settings{})
	return p
}

// Set puts settings in force for messages judged from now on.
func (p *Pipeline) Set(s Settings) {
	for _, t := range []struct {
		table **policy.Table
		name  string
	}{{&s.Inbound, "inbound"}, {&s.Outbound, "outbound"}} {
		if *t.table == nil {
			*t.table = &policy.Table{Name: t.name, Default: policy.Row{Name: policy.Default}}
		}
	}
	s.counts = s.Filters.Counts()
	for _, c := range s.Content {
		more := c.Counts()
		s.counts.Subjects, s.counts.Senders = s.counts.Subjects || more.Subjects, s.counts.Senders || more.Senders
	}
	p.settings.Store(&s)
}

// Engine gives the antivirus engine in force, or nil.
func (p *Pipeline) Engine() Engine { return p.settings.Load().Engine }

// Input is one message under judgement.
type Input struct {
	MID     mail.MID
	Env     mail.Envelope
	Origin  mail.Origin
	Size    int64
	Hash    mail.Hash                     // SHA-256 of the content
	Subject string                        // raw, unfolded
	Open    func() (io.ReadCloser, error) // the content, from its start each time
}

// Part is the recipients of a message that share a disposition. The only part
// of a message that was not split has its number and all recipients.
type Part struct {
	MID        mail.MID
	Recipients []int  // indexes of the envelope's; nil: all
	ChangedBy  string // the stage that Extras are of, the last one
	Whole      int    // so many of Copies are of the whole message, before it was split
	mail.Disposition
	Judged mail.Judgement
}

// Judge takes a message through the stages. There is at least one part.
func (p *Pipeline) Judge(ctx context.Context, in Input) ([]Part, error) { return p.judge(ctx, in, nil) }

func (p *Pipeline) judge(ctx context.Context, in Input, t *Traced) ([]Part, error) {
	s := p.settings.Load()
	m := &input{Input: in, auth: s.Auth, site: &p.o, scanned: s.Engine != nil, repeats: p.repeats, traced: t != nil}
	if t == nil {
		p.repeats.note(&in, s.counts, p.o.Now())
	}
	d, err := s.Filters.Watch(ctx, m, t.filters())
	if err != nil {
		return nil, err
	}
	if d.AlternateTo() { // its policy is that of who gets it
		in.Env.To, in.Env.Rcpt = []mail.Address{d.To}, nil
		m.Env = in.Env
	}
	ambiguous := ""
	if p.o.HoldAmbiguous != "" && !d.Drop && len(d.Quarantine) == 0 {
		if ambiguous, err = p.ambiguous(ctx, m); err != nil {
			return nil, err
		}
	}
	if !d.Drop {
		if err := p.authenticate(ctx, s, m, &d); err != nil {
			return nil, err
		}
	}
	t.looked(m, ambiguous)
	for _, note := range d.Notes {
		p.o.Log.CustomEntry(in.MID, note)
	}
	if d.Drop {
		p.o.Log.Aborted(in.MID, d.DropReason)
		t.part(Part{MID: in.MID, Disposition: d}, nil, nil)
		return []Part{{MID: in.MID, Disposition: d}}, nil
	}
	j := &judgement{p: p, s: s, in: in, m: m, table: s.table(in.Origin), ambiguous: ambiguous, t: t}
	return j.parts(ctx, d)
}

// ambiguous says, in words, why another reader would see other parts of a
// message (register C1), or nothing. One that was not seen to its end is not
// clean either (promise P3).
func (p *Pipeline) ambiguous(ctx context.Context, m *input) (string, error) {
	if !m.walked {
		if _, err := m.Content(ctx, filter.Want{}); err != nil {
			return "", err
		}
	}
	if kind, un := m.parts.Unscannable(); un {
		return "unscannable: " + string(kind), nil
	}
	if f, held := m.parts.Ambiguous(); held {
		return "ambiguous: " + f.Kind.Sentence() + " (" + string(f.Kind) + ")", nil
	}
	return "", nil
}
