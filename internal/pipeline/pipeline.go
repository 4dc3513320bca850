// Package pipeline judges accepted messages: the order of the stages (reference
// 7.3), ending in a disposition. Today its stages are the message filters and
// the mail policy.
//
// It decides and writes the lines of what it decided; it moves nothing. It
// promises that a message is judged whole or not at all: what could not be read
// is an error, and the message stays in the work queue (promise P3). Judging
// again after a crash gives the same disposition for the same filters.
package pipeline

import (
	"context"
	"io"
	"sync/atomic"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// Options of a pipeline.
type Options struct {
	Log *logs.Mail

	// HoldAmbiguous is the quarantine for messages that two readers would
	// understand differently, or that could not be looked at to their end, when
	// no filter held or dropped them. "" lets them pass.
	HoldAmbiguous string
}

// Pipeline judges messages. Safe for concurrent use.
type Pipeline struct {
	log     *logs.Mail
	hold    string
	filters atomic.Pointer[filter.Set]
}

// New makes a pipeline without filters.
func New(o Options) *Pipeline { return &Pipeline{log: o.Log, hold: o.HoldAmbiguous} }

// SetFilters puts a set of message filters in force for messages judged from now on.
func (p *Pipeline) SetFilters(s *filter.Set) { p.filters.Store(s) }

// Input is one message under judgement.
type Input struct {
	MID     mail.MID
	Env     mail.Envelope
	Origin  mail.Origin
	Size    int64
	Subject string                        // raw, unfolded
	Open    func() (io.ReadCloser, error) // the content, from its start each time
}

// policy is the last row of the mail policy tables, the only one there is yet
// (reference 7.8).
const policy = "DEFAULT"

// Judge takes a message through the stages.
func (p *Pipeline) Judge(ctx context.Context, in Input) (mail.Disposition, error) {
	m := &input{Input: in}
	d, err := p.filters.Load().Run(ctx, m)
	if err != nil {
		return mail.Disposition{}, err
	}
	if p.hold != "" && !d.Drop && len(d.Quarantine) == 0 {
		if err := p.holdAmbiguous(ctx, m, &d); err != nil {
			return mail.Disposition{}, err
		}
	}
	for _, note := range d.Notes {
		p.log.CustomEntry(in.MID, note)
	}
	if d.Drop {
		p.log.Aborted(in.MID, d.DropReason)
		return d, nil
	}
	table := "inbound"
	if in.Origin.Relay {
		table = "outbound"
	}
	p.log.MatchedPolicy(in.MID, policy, table)
	return d, nil
}

// holdAmbiguous flags a message of which another reader would see other parts
// (register C1), with the finding in words. One that was not seen to its end is
// not clean either (promise P3).
func (p *Pipeline) holdAmbiguous(ctx context.Context, m *input, d *mail.Disposition) error {
	if !m.walked {
		if _, err := m.Content(ctx, nil); err != nil {
			return err
		}
	}
	f, held := m.parts.Ambiguous()
	reason := "ambiguous: " + f.Kind.Sentence() + " (" + string(f.Kind) + ")"
	if kind, un := m.parts.Unscannable(); un {
		held, reason = true, "unscannable: "+string(kind)
	}
	if held {
		d.Quarantine = append(d.Quarantine, mail.Placement{Quarantine: p.hold, Reason: reason})
	}
	return nil
}
