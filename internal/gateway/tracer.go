package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/access"
	"lazaret/internal/admin"
	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
)

// tracer judges messages that nobody has sent, by the code and the settings by
// which others are. It implements admin.Tracer.
type tracer struct{ g *Gateway }

// TraceListeners implements admin.Tracer.
func (t tracer) TraceListeners() []string {
	var names []string
	for _, l := range t.g.Listeners.Status() {
		if l.Protocol == listener.SMTP {
			names = append(names, l.Name)
		}
	}
	return names
}

// Trace implements admin.Tracer.
func (t tracer) Trace(ctx context.Context, q admin.TraceQuery) (*admin.Trace, error) {
	c, err := t.g.Listeners.Consider(ctx, q.Listener, q.IP, q.Host)
	if err != nil {
		return nil, err
	}
	out := &admin.Trace{
		Listener: q.Listener, Client: traceClient(c), Size: len(q.Content), Refused: c.Refusal,
		Recipients: []admin.TraceRecipient{}, Filters: []admin.TraceFilter{}, Parts: []admin.TracePart{},
	}
	env := mail.Envelope{From: q.From}
	if out.Refused == "" {
		t.dialogue(ctx, &q, c, out, &env)
	}
	if out.Refused != "" {
		return out, nil
	}
	c.Origin.Helo, c.Origin.User = q.Helo, q.User
	h := message.NewHeaderScanner()
	_, _ = h.Write(q.Content) // it keeps what it needs and never fails
	traced, err := t.g.pipeline.Trace(ctx, pipeline.Input{
		Env: env, Origin: c.Origin, Size: int64(len(q.Content)), Hash: sha256.Sum256(q.Content), Subject: h.Subject(),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.Content)), nil },
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		if out.Waits = errs.Public(err); errors.As(err, new(*pipeline.Lethal)) {
			out.Waits = err.Error() + "; after three tries it is parked in Policy"
		}
	}
	t.judged(traced, out)
	for i := range traced.Parts {
		p, err := t.part(&q, c, env, &traced.Parts[i])
		if err != nil {
			return nil, err
		}
		out.Parts = append(out.Parts, p)
	}
	return out, nil
}

func traceClient(c *listener.Considered) admin.TraceClient {
	p := c.Decision.Policy
	return admin.TraceClient{
		IP: c.Origin.RemoteIP, Host: c.Origin.RemoteHost, Verified: c.Client.Verified, Group: c.Decision.Group, Match: c.Decision.Match,
		Policy: p.Name, Behaviour: c.Decision.Action.String(), MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients,
		TLS: map[access.TLSMode]string{access.TLSPreferred: "Preferred", access.TLSOff: "Off", access.TLSRequired: "Required"}[p.Params.TLS],
	}
}

// dialogue says what the client would be told, and who of the recipients is left.
func (t tracer) dialogue(ctx context.Context, q *admin.TraceQuery, c *listener.Considered, out *admin.Trace, env *mail.Envelope) {
	if out.Sender = c.Sender(ctx, q.From); out.Sender != "" {
		out.Refused = out.Sender
		return
	}
	out.Sender = smtp.NewReply(250, "2.1.0", "sender "+q.From.Path()+" ok").String()
	for i, to := range q.To {
		as, match, reply, taken := c.Recipient(to)
		if taken && c.MaxRecipients > 0 && len(env.To) >= c.MaxRecipients {
			reply, taken = smtp.NewReply(452, "4.5.3", "too many recipients"), false
		}
		if taken {
			env.To = append(env.To, as)
		}
		out.Recipients = append(out.Recipients, admin.TraceRecipient{Address: q.To[i].String(), Match: match, Reply: reply.String(), Accepted: taken})
	}
	switch {
	case len(env.To) == 0:
		out.Refused = "no recipient is accepted"
	case c.MaxSize > 0 && int64(len(q.Content)) > c.MaxSize:
		out.Refused = fmt.Sprintf("552 5.3.4 the message has %d bytes; %d are taken", len(q.Content), c.MaxSize)
	}
}

// judged tells of what was seen of the whole message.
func (t tracer) judged(traced *pipeline.Traced, out *admin.Trace) {
	out.Filters = append(out.Filters, filterSteps(traced.Steps)...)
	if a := traced.Auth; a != nil {
		out.SenderAuth = a.Field
	}
	for _, f := range traced.Inside {
		out.Attachments = append(out.Attachments, admin.TraceInside{Finding: f.Kind, Path: f.Path})
	}
	out.Ambiguous = traced.Ambiguous
}

// filterSteps gives the way through filters, filter by filter.
func filterSteps(steps []filter.Step) (out []admin.TraceFilter) {
	for _, s := range steps {
		if s.Rule == "" && s.Action == "" {
			out = append(out, admin.TraceFilter{Name: s.Filter, Rules: []admin.TraceRule{}, Actions: []string{}})
			continue
		}
		if len(out) == 0 {
			continue
		}
		f := &out[len(out)-1]
		if s.Rule != "" {
			r := admin.TraceRule{Rule: s.Rule, Result: s.Held}
			for _, m := range s.Matched {
				r.Matched = append(r.Matched, admin.TraceMatch{Part: m.Part, Text: m.Text})
			}
			f.Rules = append(f.Rules, r)
		} else {
			f.Actions = append(f.Actions, s.Action)
		}
	}
	return out
}

// part tells of one part.
func (t tracer) part(q *admin.TraceQuery, c *listener.Considered, env mail.Envelope, p *pipeline.TracedPart) (admin.TracePart, error) {
	out := admin.TracePart{
		Table: p.Table, Policy: p.Policy, Antispam: "Not scanned", Headers: []string{}, Next: []admin.TraceDestination{},
		Quarantine: append([]mail.Placement{}, p.Quarantine...), Copies: append([]mail.Placement{}, p.Copies...), Notes: append([]string{}, p.Notes...),
	}
	to := env.To
	if p.AlternateTo() {
		to = []mail.Address{p.To}
	} else if p.Recipients != nil {
		to = nil
		for _, i := range p.Recipients {
			to = append(to, env.To[i])
		}
	}
	for _, a := range to {
		out.Recipients = append(out.Recipients, a.String())
	}
	if p.Spam != nil {
		out.Antispam = spamWords(*p.Spam)
	}
	for _, s := range p.Scans {
		out.Antivirus = append(out.Antivirus, scanWords(s))
	}
	if len(out.Antivirus) == 0 {
		out.Antivirus = []string{"Not scanned"}
	}
	out.Filters, out.Outbreak, out.DLP = filterSteps(p.Content), p.Outbreak, p.Leak
	if p.Files != nil {
		out.Files = strings.TrimSpace(p.Files.Verdict.String() + " " + p.Files.Name)
	}
	for _, h := range p.Headers {
		out.Headers = append(out.Headers, strings.TrimRight(h.String(), "\r\n"))
	}
	out.Changes = changeWords(p.Disposition)
	if p.Drop {
		out.Drop = p.DropReason
		return out, nil
	}
	out.Next = t.next(p, to)
	if !q.Final {
		return out, nil
	}
	final, err := t.final(q, c, to, p)
	out.Final = final
	return out, err
}

// next gives the destinations of a part.
func (t tracer) next(p *pipeline.TracedPart, to []mail.Address) (out []admin.TraceDestination) {
	if len(p.Quarantine) > 0 {
		name := t.g.quarantineDest().Name
		to, by := to, admin.TraceDestination{Name: name}
		for _, a := range to {
			by.Recipients = append(by.Recipients, a.String())
		}
		return []admin.TraceDestination{by}
	}
	for _, a := range to {
		host := cmp.Or(p.Route.Host, a.Domain)
		i := slices.IndexFunc(out, func(d admin.TraceDestination) bool { return d.Name == host })
		if i < 0 {
			i = len(out)
			out = append(out, admin.TraceDestination{Name: host})
		}
		out[i].Recipients = append(out[i].Recipients, a.String())
	}
	return out
}

// final makes the message as it would go on, by the code that changes others.
func (t tracer) final(q *admin.TraceQuery, c *listener.Considered, to []mail.Address, p *pipeline.TracedPart) (string, error) {
	it := &queue.Item{Prepend: message.Received(c.Origin, t.g.Config.Committed().Hostname, 0, to, t.g.Now())}
	for _, h := range slices.Backward(p.Headers) {
		it.Prepend = append([]byte(h.String()), it.Prepend...)
	}
	var b bytes.Buffer
	x := extras(p.Extras)
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.Content)), nil }
	if err := processor(t).write(&b, x, 0, p.Part, bytes.NewReader(q.Content), open); err != nil {
		return "", err
	}
	x.mark(it)
	return string(it.Prepend) + b.String(), nil
}

func spamWords(s mail.Spam) string {
	switch s.Verdict {
	case mail.SpamNegative:
		return "Not Spam (" + s.Engine + ")"
	case mail.SpamUnknown:
		return "Unknown (" + s.Engine + "): " + s.Reason
	}
	return "Spam " + s.Verdict.String() + " (" + s.Engine + "), score " + strconv.FormatFloat(s.Score, 'f', 2, 64) + " of " + strconv.FormatFloat(s.Required, 'f', 2, 64)
}

func scanWords(s mail.Scan) string {
	switch {
	case s.Verdict == mail.Clean:
		return "Message Clean (" + s.Engine + ")"
	case s.Name == "":
		return "Message " + s.Verdict.String() + " (" + s.Engine + ")"
	}
	return "Message " + s.Verdict.String() + " (" + s.Engine + "): " + s.Name
}

// changeWords says what is done to the content.
func changeWords(d mail.Disposition) []string {
	out := []string{}
	for _, x := range d.Extras {
		if x.Tag != "" {
			out = append(out, "subject tag "+x.Tag)
		}
		if x.Header != "" {
			out = append(out, "header "+x.Header+": "+x.Value)
		}
		if x.Strip {
			out = append(out, "attachments taken out")
		}
	}
	for _, e := range d.Body {
		out = append(out, bodyWords(e))
	}
	out = append(out, elsewhereWords(d)...)
	if d.Unforge {
		out = append(out, "forged "+pipeline.AuthField+" taken out")
	}
	return out
}
