package filter

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"lazaret/internal/mail"
)

// Message is a message under judgement. The methods that read are called only
// when a rule asks, Content at most once for each call of Run. An error of
// theirs ends the run: what could not be read is not judged.
type Message interface {
	// Facts gives what is known without reading.
	Facts() *Facts

	// Header gives the values of all header fields of the name (any case),
	// unfolded and decoded, under every reading that a recipient's program
	// could make of them. unseen says why fields may be missing, such as
	// header-limit, or nothing.
	Header(ctx context.Context, name string) (values []string, unseen string, err error)

	// SenderAuth gives what is known of the sender: SPF, DKIM, DMARC, ARC. The zero
	// value when nobody looks.
	SenderAuth(ctx context.Context) (mail.SenderAuth, error)

	// Content reads the whole message and calls text with the decoded text of
	// its parts. text may be nil: then none is wanted.
	Content(ctx context.Context, text func(Piece) error) (Content, error)
}

// Piece is some of the text of a part; Last ends one text. Texts of the same
// part behind one another are readings of the same thing (the source of HTML
// and what is seen of it, two charsets): the one with the most matches counts.
type Piece struct {
	Part  string
	Bytes []byte
	Last  bool
}

// Facts are of the envelope and the connection.
type Facts struct {
	MID     mail.MID
	Env     mail.Envelope
	Origin  mail.Origin
	Size    int64
	Subject string // decoded, for $Subject
}

// Content is what the walk through a message found.
type Content struct {
	Attachments         []string // names, under every reading
	MalformedHeader     bool
	DuplicateBoundaries bool
	Findings            []string // what readers could understand differently, such as boundary-ambiguous
	Unscannable         string   // why a part of the message was not seen, such as depth-limit; "" when all was
}

// Run judges a message by the active filters, in their order, until a final action.
func (s *Set) Run(ctx context.Context, m Message) (mail.Disposition, error) {
	if s.Empty() {
		return mail.Disposition{}, nil
	}
	r := &run{set: s, m: m, facts: m.Facts()}
	for _, f := range s.filters {
		if !f.active {
			continue
		}
		r.filter = f.name
		r.before = len(r.out.Quarantine)
		ended, err := r.branch(ctx, f.root)
		if err != nil {
			return mail.Disposition{}, err
		}
		if ended {
			break
		}
	}
	r.holdUnseen()
	return r.out, nil
}

// unseenQuarantine takes what no filter could see to its end.
const unseenQuarantine = "Policy"

// holdUnseen keeps a message back that a rule wanted to look into and could
// not: it is never clean (promise P3), whatever its filter decided without
// having seen it. A script with the rule unscannable decides by itself.
func (r *run) holdUnseen() {
	why := cmp.Or(r.content.Unscannable, r.unseen)
	if why == "" || r.out.Drop || r.set.unseen || len(r.out.Quarantine) > 0 {
		return
	}
	r.out.Quarantine = append(r.out.Quarantine, mail.Placement{Quarantine: unseenQuarantine, Reason: "unscannable: " + why})
}

// run is the state of one Run.
type run struct {
	set     *Set
	m       Message
	facts   *Facts
	out     mail.Disposition
	filter  string // under way
	before  int    // placements when it began
	read    bool
	content Content
	unseen  string // why a header was not seen to its end
	counts  []int  // matches of each body rule
}

// branch runs an if. It reports whether the message is done with all filters.
func (r *run) branch(ctx context.Context, st *ifStmt) (bool, error) {
	yes, err := r.eval(ctx, st.cond)
	if err != nil {
		return false, err
	}
	list := st.els
	if yes {
		list = st.then
	}
	for _, s := range list {
		var ended bool
		switch s := s.(type) {
		case *ifStmt:
			ended, err = r.branch(ctx, s)
		case *action:
			ended, err = r.act(s)
		}
		if ended || err != nil {
			return ended, err
		}
	}
	return false, nil
}

// act does one action. It reports whether it was final.
func (r *run) act(a *action) (bool, error) {
	switch a.word {
	case "quarantine":
		r.out.Quarantine, _ = place(r.out.Quarantine, a.args[0].text, r.filter)
	case "duplicate-quarantine":
		var added bool
		if r.out.Copies, added = place(r.out.Copies, a.args[0].text, r.filter); added {
			r.out.CopiedBy = append(r.out.CopiedBy, r.filter)
		}
	case "insert-header":
		h, err := header(a.args[0].text, a.args[1].tmpl.expand(r.facts, r.filter))
		if err != nil {
			return false, err
		}
		r.out.Headers = append(r.out.Headers, h)
	case "log-entry":
		r.out.Notes = append(r.out.Notes, a.args[0].tmpl.expand(r.facts, r.filter))
	case "deliver":
		// What this filter itself flagged is defeated (reference 2.1); flags
		// of the filters before it stay.
		r.out.Quarantine = r.out.Quarantine[:r.before]
		return true, nil
	case "drop":
		// The copies were made at once and stay (reference 2.1).
		r.out.Drop, r.out.DropReason = true, "Dropped by filter '"+r.filter+"'"
		r.out.Quarantine, r.out.Headers = nil, nil
		return true, nil
	case "skip-filters":
		return true, nil
	}
	return false, nil
}

// place adds a placement unless the quarantine has one.
func place(to []mail.Placement, quarantine, filter string) ([]mail.Placement, bool) {
	if slices.ContainsFunc(to, func(p mail.Placement) bool { return p.Quarantine == quarantine }) {
		return to, false
	}
	return append(to, mail.Placement{Quarantine: quarantine, Reason: "message filter:" + filter}), true
}

// eval decides a condition, the cheap parts first.
func (r *run) eval(ctx context.Context, n *node) (bool, error) {
	switch n.op {
	case "rule":
		return r.test(ctx, n.rule)
	case "not":
		yes, err := r.eval(ctx, n.eval[0])
		return !yes, err
	}
	decisive := n.op == "or"
	for _, k := range n.eval {
		yes, err := r.eval(ctx, k)
		if err != nil || yes == decisive {
			return yes, err
		}
	}
	return !decisive, nil
}

// test decides one rule. != is the opposite of == in every case, also where
// there are several values or none.
func (r *run) test(ctx context.Context, u *rule) (bool, error) {
	yes, err := r.holds(ctx, u)
	if u.op == "!=" {
		yes = !yes
	}
	return yes, err
}

func (r *run) holds(ctx context.Context, u *rule) (bool, error) {
	f := r.facts
	switch u.word {
	case "true":
		return true, nil
	case "rcpt-count":
		return compare(int64(len(f.Env.To)), u.op, u.number), nil
	case "body-size":
		return compare(f.Size, u.op, u.number), nil
	case "remote-ip":
		return u.net.contains(f.Origin.RemoteIP), nil
	case "sendergroup":
		return u.re.MatchString(f.Origin.SenderGroup), nil
	case "mail-from":
		return u.re.MatchString(f.Env.From.String()), nil
	case "rcpt-to":
		return slices.ContainsFunc(f.Env.To, func(a mail.Address) bool { return u.re.MatchString(a.String()) }), nil
	case "subject":
		return r.header(ctx, u, "Subject")
	case "header":
		return r.header(ctx, u, u.name)
	case "spf-status", "spf-passed", "dkim-authentication", "dmarc-status", "arc-status":
		return r.bySender(ctx, u)
	}
	return r.inContent(ctx, u)
}

// bySender decides the rules about who sent the message. What nobody looked at
// is none.
func (r *run) bySender(ctx context.Context, u *rule) (bool, error) {
	a, err := r.m.SenderAuth(ctx)
	if err != nil {
		return false, err
	}
	results := map[string][]string{"spf-status": {a.SPF}, "dkim-authentication": a.DKIM, "dmarc-status": {a.DMARC}, "arc-status": {a.ARC}}[u.word]
	if u.word == "spf-passed" {
		return a.SPF == "pass", nil
	}
	if len(results) == 0 {
		results = []string{""}
	}
	return slices.ContainsFunc(results, func(s string) bool { return u.re.MatchString(cmp.Or(s, "none")) }), nil
}

// compare decides "!=" as "==": test turns it round.
func compare(a int64, op string, b int64) bool {
	switch op {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	case ">=":
		return a >= b
	}
	return a == b
}

func (r *run) header(ctx context.Context, u *rule, name string) (bool, error) {
	values, unseen, err := r.m.Header(ctx, name)
	if err != nil {
		return false, err
	}
	r.unseen = cmp.Or(r.unseen, unseen)
	if u.re == nil {
		return len(values) > 0, nil
	}
	return slices.ContainsFunc(values, u.re.MatchString), nil
}

// inContent decides the rules that need the whole message.
func (r *run) inContent(ctx context.Context, u *rule) (bool, error) {
	if err := r.readContent(ctx); err != nil {
		return false, err
	}
	switch u.word {
	case "attachment-filename":
		return slices.ContainsFunc(r.content.Attachments, u.re.MatchString), nil
	case "mime-finding":
		return slices.ContainsFunc(r.content.Findings, u.re.MatchString), nil
	case "unscannable":
		return r.content.Unscannable != "", nil
	case "malformed-header":
		return r.content.MalformedHeader, nil
	case "duplicate_boundaries":
		return r.content.DuplicateBoundaries, nil
	case "body-contains":
		return r.counts[u.body.index] >= u.body.least, nil
	}
	panic("filter: rule without a test: " + strconv.Quote(u.word))
}

// readContent reads the message once for all rules of all filters.
func (r *run) readContent(ctx context.Context) error {
	if r.read {
		return nil
	}
	r.read = true
	if len(r.set.bodies) == 0 {
		content, err := r.m.Content(ctx, nil)
		r.content = content
		return err
	}
	w := newWindow(ctx, r.set.bodies)
	content, err := r.m.Content(ctx, w.add)
	r.content, r.counts = content, w.total()
	return err
}
