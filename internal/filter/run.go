package filter

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"lazaret/internal/filter/match"
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

	// Outside answers a question about what lies outside of the message. known is
	// false when nobody can say.
	Outside(ctx context.Context, q Question) (n int64, known bool, err error)

	// Content reads the whole message.
	Content(ctx context.Context, want Want) (Content, error)
}

// Piece is some of the text of a part.
type Piece = match.Piece

// Want is what of the content some rule asks for.
type Want struct {
	Text   func(Piece) error // called with the decoded text of the parts; may be nil
	Binary bool              // with the bytes of other attachments too
	Files  bool              // Content.Files with sizes and kinds
	Inside bool              // with what is inside of attachments: archives, documents
}

// Facts are of the envelope and the connection.
type Facts struct {
	MID       mail.MID
	Env       mail.Envelope
	Origin    mail.Origin
	Size      int64
	Subject   string // decoded, for $Subject
	Now       time.Time
	WorkQueue int      // messages that wait for judgement
	Seed      uint64   // of random(); the same each time the message is judged
	Tags      []string // by filters before these
}

// File is one attachment.
type File struct {
	Part  string   // as in Piece
	Names []string // under every reading, as those of Content.Attachments
	Types []string // media types that its header declares
	Kinds []string // what it is by its bytes, and the group of that: exe, executable
	Size  int64    // bytes, decoded; the largest of the readings
	In    string   // Part of the attachment that this is something inside of; "" for an attachment

	Protected bool // something in it cannot be seen without a password
	Corrupt   bool // it, or something in it, is damaged
}

// Content is what the walk through a message found.
type Content struct {
	Attachments         []string // names, under every reading
	Files               []File   // each attachment once, and behind it what is inside
	Boxes               []File   // attached messages as such; what is in them is among Files
	Inside              []string // findings in attachments, such as macro
	Encrypted, Signed   bool     // by S/MIME or OpenPGP, as the message says of itself
	Invalid             bool     // a part cannot be read as MIME
	MalformedHeader     bool
	DuplicateBoundaries bool
	Findings            []string // what readers could understand differently, such as boundary-ambiguous
	Unscannable         string   // why a part of the message was not seen, such as depth-limit; "" when all was
}

// Run judges a message by the active filters, in their order, until a final action.
func (s *Set) Run(ctx context.Context, m Message) (mail.Disposition, error) {
	return s.Watch(ctx, m, nil)
}

// Watch is Run that tells each of its steps; a nil tell hears none.
func (s *Set) Watch(ctx context.Context, m Message, tell func(Step)) (mail.Disposition, error) {
	if s.Empty() {
		return mail.Disposition{}, nil
	}
	r := &run{set: s, m: m, facts: m.Facts(), tell: tell}
	for _, f := range s.filters {
		if !f.active || f.invalid != "" {
			continue
		}
		r.filter = f.name
		r.step(Step{})
		r.before = len(r.out.Quarantine)
		r.notes = nil
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
	tell    func(Step)
	filter  string // under way
	before  int    // placements when it began
	read    bool
	content Content
	unseen  string // why a header was not seen to its end
	counts  []int  // matches of each body rule
	window  *match.Window
	matched []string       // texts that rules about content which held matched
	notes   []mail.Matched // what the filter under way matched
	noted   int            // matches that the placements have
	dropped *File          // the attachment whose notice is written
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
			ended, err = r.act(ctx, s)
		}
		if ended || err != nil {
			return ended, err
		}
	}
	return false, nil
}

// act does one action. It reports whether it was final.
func (r *run) act(ctx context.Context, a *action) (bool, error) {
	r.acts(a)
	switch a.word {
	case "quarantine":
		r.out.Quarantine, _ = r.place(r.out.Quarantine, a.args[0].text)
	case "duplicate-quarantine":
		var added bool
		if r.out.Copies, added = r.place(r.out.Copies, a.args[0].text); added {
			r.out.CopiedBy = append(r.out.CopiedBy, r.filter)
		}
	case "insert-header":
		text, err := r.expand(ctx, a.args[1].tmpl)
		if err != nil {
			return false, err
		}
		h, err := header(a.args[0].text, text)
		if err != nil {
			return false, err
		}
		r.out.Headers = append(r.out.Headers, h)
	case "log-entry":
		text, err := r.expand(ctx, a.args[0].tmpl)
		if err != nil {
			return false, err
		}
		r.out.Notes = append(r.out.Notes, text)
	case "deliver":
		// What this filter itself flagged is defeated (reference 2.1); flags
		// of the filters before it stay.
		r.out.Quarantine = r.out.Quarantine[:r.before]
		return true, nil
	case "drop":
		// The copies were made at once and stay (reference 2.1).
		r.out.Drop, r.out.DropReason = true, "Dropped by "+r.set.named(r.filter)
		r.out.Quarantine, r.out.Headers = nil, nil
		return true, nil
	case "bounce":
		r.out.Drop, r.out.Bounce, r.out.DropReason = true, true, "Bounced by "+r.set.named(r.filter)
		r.out.Quarantine, r.out.Headers = nil, nil
		return true, nil
	case "skip-filters":
		return true, nil
	default:
		return false, r.change(ctx, a)
	}
	return false, nil
}

// kind names what the filters are, as reasons do.
func (s *Set) kind() string {
	if s.table != "" {
		return "content filter"
	}
	return "message filter"
}

// named names a filter, as log lines do.
func (s *Set) named(filter string) string {
	if s.table != "" {
		return "content filter '" + filter + "' in the " + s.table + " table"
	}
	return "filter '" + filter + "'"
}

// place adds a placement, or what was matched to the one there is.
func (r *run) place(to []mail.Placement, quarantine string) (all []mail.Placement, added bool) {
	i := slices.IndexFunc(to, func(p mail.Placement) bool { return p.Quarantine == quarantine })
	if added = i < 0; added {
		i = len(to)
		to = append(to, mail.Placement{Quarantine: quarantine, Reason: r.set.kind() + ":" + r.filter})
	}
	for _, m := range r.notes {
		if r.noted < mail.MaxMatched && !slices.Contains(to[i].Matched, m) {
			to[i].Matched = append(to[i].Matched, m)
			r.noted++
		}
	}
	return to, added
}

// eval decides a condition. What rules matched in one that does not hold, or is
// turned round, is no reason for anything.
func (r *run) eval(ctx context.Context, n *node) (bool, error) {
	before := len(r.notes)
	yes, err := r.decide(ctx, n)
	if !yes || n.op == "not" || n.rule != nil && n.rule.op == "!=" {
		r.notes = r.notes[:before]
	}
	return yes, err
}

// decide is eval, the cheap parts first.
func (r *run) decide(ctx context.Context, n *node) (bool, error) {
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
	before := len(r.notes)
	yes, err := r.holds(ctx, u)
	if u.op == "!=" {
		yes = !yes
	}
	r.asked(u, yes, r.notes[before:], err)
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
	case "recv-listener":
		return u.re.MatchString(f.Origin.Listener), nil
	case "recv-int":
		return u.re.MatchString(f.Origin.Interface), nil
	case "workqueue-count":
		return compare(int64(f.WorkQueue), u.op, u.number), nil
	case "date":
		return compare(int64(wall(f.Now).Compare(u.date)), u.op, 0), nil
	case "random":
		return compare(random(f.Seed+u.salt, u.below), u.op, u.number), nil
	case "mail-from-dictionary-match":
		return r.inDictionary(u, []string{f.Env.From.String()}, "envelope sender"), nil
	case "rcpt-to-dictionary-match":
		to := make([]string, len(f.Env.To))
		for i, a := range f.Env.To {
			to[i] = a.String()
		}
		return r.inDictionary(u, to, "envelope recipient"), nil
	case "subject-dictionary-match", "header-dictionary-match":
		values, unseen, err := r.m.Header(ctx, u.name)
		r.unseen = cmp.Or(r.unseen, unseen)
		return r.inDictionary(u, values, u.name), err
	case "addr-count":
		n, err := r.addresses(ctx, u.args)
		return compare(n, u.op, u.number), err
	case "smtp-auth-id-matches":
		return r.login(ctx, u.args)
	case "subject":
		return r.header(ctx, u, "Subject")
	case "header":
		return r.header(ctx, u, u.name)
	case "message-tag":
		return slices.ContainsFunc(slices.Concat(f.Tags, r.out.Tags), u.re.MatchString), nil
	case "reputation", "no-reputation", "dnslist", "header-repeats":
		return r.outside(ctx, u)
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
	return r.matches(u, values, name), nil
}

// inContent decides the rules that need the whole message.
func (r *run) inContent(ctx context.Context, u *rule) (bool, error) {
	if err := r.readContent(ctx); err != nil {
		return false, err
	}
	c := &r.content
	switch u.word {
	case "attachment-filename":
		return r.matches(u, c.Attachments, "name of an attachment"), nil
	case "attachment-type", "attachment-mimetype":
		return anyFile(c.Files, func(f *File) bool { return slices.ContainsFunc(f.Types, u.re.MatchString) }), nil
	case "attachment-filetype":
		return anyFile(c.Files, func(f *File) bool { return slices.ContainsFunc(f.Kinds, u.re.MatchString) }), nil
	case "attachment-size":
		return anyFile(c.Files, func(f *File) bool { return f.In == "" && compare(f.Size, u.op, u.number) }), nil
	case "attachment-protected":
		return anyFile(c.Files, func(f *File) bool { return f.Protected }), nil
	case "attachment-unprotected":
		return anyFile(c.Files, func(f *File) bool { return f.In == "" && !f.Protected }), nil
	case "attachment-corrupt":
		return anyFile(c.Files, func(f *File) bool { return f.Corrupt }), nil
	case "attachment-finding":
		return slices.ContainsFunc(c.Inside, u.re.MatchString), nil
	case "encrypted":
		return c.Encrypted, nil
	case "signed":
		return c.Signed, nil
	case "valid":
		return !c.Invalid && !c.MalformedHeader && !c.DuplicateBoundaries, nil
	case "mime-finding":
		return slices.ContainsFunc(c.Findings, u.re.MatchString), nil
	case "unscannable":
		return c.Unscannable != "", nil
	case "malformed-header":
		return c.MalformedHeader, nil
	case "duplicate_boundaries":
		return c.DuplicateBoundaries, nil
	}
	if u.body != nil {
		return r.inText(u), nil
	}
	panic("filter: rule without a test: " + strconv.Quote(u.word))
}

// inText decides a body rule, and notes what it matched when it holds.
func (r *run) inText(u *rule) bool {
	b := u.body
	least := b.Least
	if b.Where == match.EveryAttachment {
		// One that holds no text does not hold the text that is asked for.
		if least = r.content.attachments(); least == 0 {
			return false
		}
	}
	if r.counts[b.Index] < least {
		return false
	}
	for _, m := range r.window.Found(b.Index) {
		r.found(u, m.Part, m.Text)
	}
	return true
}

// attachments counts those of the message itself.
func (c *Content) attachments() (n int) {
	for i := range c.Files {
		if c.Files[i].In == "" {
			n++
		}
	}
	return n
}

func anyFile(files []File, is func(*File) bool) bool {
	for i := range files {
		if is(&files[i]) {
			return true
		}
	}
	return false
}

// readContent reads the message once for all rules of all filters.
func (r *run) readContent(ctx context.Context) (err error) {
	if r.read {
		return nil
	}
	r.read = true
	want := r.set.want
	if len(r.set.bodies) == 0 {
		r.content, err = r.m.Content(ctx, want)
		return err
	}
	w := r.set.texts.Window(ctx)
	want.Text = w.Add
	r.content, err = r.m.Content(ctx, want)
	r.counts, r.window = w.Total(), w
	return err
}

// expand fills in the variables of a text, reading the message for them if it must.
func (r *run) expand(ctx context.Context, t template) (string, error) {
	if t.uses("filenames", "filesizes", "filetypes") {
		if err := r.readContent(ctx); err != nil {
			return "", err
		}
	}
	return t.expand(r.value), nil
}
