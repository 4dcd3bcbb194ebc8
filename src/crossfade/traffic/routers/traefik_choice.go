// Package choice is what Traefik does with each request, interpreted inside it as a local plugin: read the
// line of the route file, choose a slot, count.
//
// The slot is written into a header of the request, by which a router of Traefik's finds the slot's
// service. The line and the services must never disagree: a generation of Traefik's configuration knows
// the instances that it was made with, and obeys only lines of exactly these.
package choice

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	random "math/rand"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Program names this very text; Crossfade writes its digest here.
const Program = "PROGRAM"

const (
	longest  = 64 // as in buckets.py, like all of `bucket`
	largest  = 32 << 20
	patience = time.Minute
)

// Config is what Crossfade tells a generation.
type Config struct {
	SetUp, Line, File, Token, ProbeHeader, SlotHeader, CopyHeader, OverrideHeader, StickyKind, StickyName string

	CookieAge, Counter int
}

// line is the line of the route file in parts; slots are 0 (blue) and 1 (green).
type line struct {
	text, instances string
	share, copied   uint64
	basis           uint32
	stable          int
	some            []bool
}

// Generation serves the requests of one configuration of Traefik's.
type Generation struct {
	next    http.Handler
	told    *Config
	lock    sync.Mutex
	read    string
	inForce *line
	looked  time.Time
	own     string
	counter net.Conn
}

var (
	slots     = []string{"blue", "green"}
	plain     = regexp.MustCompile("^[ -~]*$")
	uuid      = regexp.MustCompile("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
	sockets   = map[int]net.Conn{}
	opening   sync.Mutex
	flying0   int64 // of all generations: one interpreter serves them all
	flying1   int64
	harmless  = map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true}
)

// CreateConfig is called by Traefik.
func CreateConfig() *Config { return &Config{} }

// New is called by Traefik for each generation.
func New(ctx context.Context, next http.Handler, told *Config, name string) (http.Handler, error) {
	counter, err := socket(told.Counter)
	if err != nil {
		return nil, err
	}
	g := &Generation{next: next, told: told, counter: counter, read: told.Line, inForce: parse(told.Line)}
	if g.inForce != nil {
		g.own = g.inForce.instances
	}
	return g, nil
}

func socket(port int) (net.Conn, error) {
	opening.Lock()
	defer opening.Unlock()
	if known, ok := sockets[port]; ok {
		return known, nil
	}
	made, err := net.Dial("udp", "127.0.0.1:"+strconv.Itoa(port))
	if err == nil {
		sockets[port] = made
	}
	return made, err
}

func (g *Generation) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	began := time.Now()
	token := req.Header.Get(g.told.ProbeHeader)
	ours := token != "" && token == g.told.Token
	l := g.current(began, ours)
	slot, given := g.choose(l, req)
	if ours {
		g.tell(rw, l, slot)
		return
	}
	if l == nil {
		nobody(rw) // no version is to blame, so nobody's count has it
		return
	}
	req.Header.Del(g.told.CopyHeader)
	a := &answer{ResponseWriter: rw, began: began, cookie: given}
	begun(slot)
	defer g.ended(a, req, slot)
	if !l.some[slot] {
		a.cookie = ""
		nobody(a)
	} else {
		route := slots[slot]
		if !harmless[req.Method] {
			route += "-once"
		}
		if l.copied > 0 && slot == l.stable && l.some[1-slot] && isCopied(l, req) {
			g.copy(req, 1-slot)
		}
		req.Header.Set(g.told.SlotHeader, route)
		g.next.ServeHTTP(a, req)
	}
	a.whole = true
}

// isCopied: a share of requests by chance; no websockets, and no bodies that are endless or beyond measure.
func isCopied(l *line, req *http.Request) bool {
	known := req.ContentLength >= 0 && req.ContentLength <= largest
	return known && uint64(random.Uint32()) < l.copied && req.Header.Get("Upgrade") == ""
}

// copy sends the request to the canary as well, in the background, and counts what it answers.
func (g *Generation) copy(req *http.Request, slot int) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the visitor left while sending
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), patience)
	twin := req.Clone(ctx)
	twin.Body = io.NopCloser(bytes.NewReader(body))
	twin.Header.Set(g.told.CopyHeader, "true")
	twin.Header.Set(g.told.SlotHeader, slots[slot]+"-once")
	begun(slot)
	go g.send(twin, slot, cancel)
}

func (g *Generation) send(twin *http.Request, slot int, cancel context.CancelFunc) {
	a := &answer{ResponseWriter: &nowhere{header: http.Header{}}, began: time.Now()}
	defer cancel()
	defer func() { recover() }() // an answer that breaks off ends in a panic, which is counted and told to nobody
	defer g.ended(a, twin, slot)
	g.next.ServeHTTP(a, twin)
	a.whole = true
}

func begun(slot int) {
	if slot == 0 {
		atomic.AddInt64(&flying0, 1)
	} else {
		atomic.AddInt64(&flying1, 1)
	}
}

// current is the newest line of this generation's own instances. What was read within this millisecond is new
// enough for visitors; a probe of ours reads anew, and what it saw holds for all who come after it.
func (g *Generation) current(now time.Time, anew bool) *line {
	g.lock.Lock()
	if !anew && now.Sub(g.looked) < time.Millisecond {
		l := g.inForce
		g.lock.Unlock()
		return l
	}
	g.looked = now
	found, err := os.ReadFile(g.told.File)
	if err == nil && string(found) != g.read {
		g.read = string(found)
		if l := parse(g.read); l != nil && l.instances == g.own {
			g.inForce = l
		}
	}
	l := g.inForce
	g.lock.Unlock()
	return l
}

// choose is the slot that serves this request, and the bucket cookie to give, if any.
func (g *Generation) choose(l *line, req *http.Request) (int, string) {
	if l == nil {
		return 0, ""
	}
	id, given := "", ""
	if g.told.StickyKind != "" {
		id, given = g.identified(req)
	}
	wish := req.Header.Get(g.told.OverrideHeader)
	if wish == "never" {
		return l.stable, given
	}
	if wish == "always" {
		if l.some[1-l.stable] {
			return 1 - l.stable, given
		}
		return l.stable, given
	}
	if l.share == 0 {
		return 0, given
	}
	if l.share == 1<<32 {
		return 1, given
	}
	place := uint64(0)
	if id == "" {
		place = uint64(random.Uint32())
	} else {
		place = uint64(bucket(id, l.basis))
	}
	if place < l.share {
		return 1, given
	}
	return 0, given
}

// identified is the id of who is asking, empty for nobody in particular, and the cookie for who has none.
func (g *Generation) identified(req *http.Request) (string, string) {
	if g.told.StickyKind == "header" {
		return req.Header.Get(g.told.StickyName), ""
	}
	found := ""
	if cookie, err := req.Cookie(g.told.StickyName); err == nil {
		found = cookie.Value
	}
	if g.told.StickyKind == "user_cookie" || uuid.MatchString(found) {
		return found, ""
	}
	drawn := make([]byte, 16)
	if _, err := rand.Read(drawn); err != nil {
		return "", ""
	}
	h := hex.EncodeToString(drawn)
	id := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	age := strconv.Itoa(g.told.CookieAge)
	return id, g.told.StickyName + "=" + id + "; Path=/; Max-Age=" + age + "; HttpOnly; SameSite=Lax"
}

// bucket is the number of buckets.py: FNV-1a from a salted basis, mixed by fmix32. The hash of Go's library
// is compiled; it begins where its restored state says.
func bucket(user string, basis uint32) uint32 {
	text := []byte(user)
	if len(user) > longest || !plain.MatchString(user) {
		text = normal(user)
	}
	state := binary.BigEndian.AppendUint32([]byte("fnv\x02"), basis)
	h := fnv.New32a()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic(err)
	}
	h.Write(text)
	x := uint64(h.Sum32())
	x = ((x ^ x>>16) * 2246822507) & 0xffffffff
	x = ((x ^ x>>13) * 3266489909) & 0xffffffff
	return uint32(x ^ x>>16)
}

// normal is one byte for each character that counts.
func normal(user string) []byte {
	characters := []rune(user)
	if len(characters) > longest {
		characters = append(append([]rune{}, characters[:longest/2]...), characters[len(characters)-longest/2:]...)
	}
	text := make([]byte, len(characters))
	for place, character := range characters {
		text[place] = 1
		if character >= ' ' && character <= '~' {
			text[place] = byte(character)
		}
	}
	return text
}

// parse reads `400000 t=… k=… s=blue blue=1:10.0.0.1:80,,,; green=…; fence=7 …`; nil when it is no whole line.
func parse(text string) *line {
	parts := strings.Split(strings.TrimSuffix(text, "\n"), " ")
	copied := "mirror=0"
	if len(parts) == 10 {
		copied, parts = parts[9], parts[:9]
	}
	if len(parts) != 9 || !strings.HasPrefix(parts[8], "points=") {
		return nil
	}
	share, err1 := strconv.ParseUint(strings.TrimPrefix(parts[1], "t="), 10, 64)
	basis, err2 := strconv.ParseUint(strings.TrimPrefix(parts[2], "k="), 10, 32)
	points, err3 := strconv.ParseUint(strings.TrimPrefix(copied, "mirror="), 10, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil
	}
	l := &line{text: strings.TrimSuffix(text, "\n"), instances: parts[4] + parts[5], share: share, basis: uint32(basis)}
	l.copied = points << 32 / 10000
	if parts[3] == "s=green" {
		l.stable = 1
	}
	l.some = []bool{!strings.HasPrefix(parts[4], "blue=0:"), !strings.HasPrefix(parts[5], "green=0:")}
	return l
}

// tell answers our own probe: the line in force, and what this Traefik is and does.
func (g *Generation) tell(rw http.ResponseWriter, l *line, slot int) {
	text := ""
	if l != nil {
		text = l.text
	}
	rw.Header().Set(g.told.SlotHeader, slots[slot])
	fmt.Fprintf(rw, "%s\n{\"program\":%q,\"set_up\":%q,\"flying\":{\"blue\":%d,\"green\":%d}}\n",
		text, Program, g.told.SetUp, atomic.LoadInt64(&flying0), atomic.LoadInt64(&flying1))
	g.counter.Write([]byte(`{"arm":"probe","status":200,"duration":0}`))
}

func nobody(rw http.ResponseWriter) {
	rw.Header().Set("X-Crossfade", "no-version")
	rw.Header().Set("Retry-After", "1")
	rw.Header().Set("Cache-Control", "no-store")
	rw.Header().Set("Content-Type", "text/plain")
	rw.WriteHeader(http.StatusServiceUnavailable)
	io.WriteString(rw, "No version of this service is running.\n")
}

// ended tells the counter of a request that has ended, however it did.
func (g *Generation) ended(a *answer, req *http.Request, slot int) {
	status, gone := a.status, a.left || req.Context().Err() != nil
	if status == 0 && gone {
		status = 499 // the visitor left before there was an answer
	}
	if !a.whole && !gone {
		status = 0 // the instance went away in the middle of its answer
	}
	took := time.Since(a.began).Seconds()
	word := `{"arm":"` + slots[slot] + `","status":` + strconv.Itoa(status) + `,"duration":` + strconv.FormatFloat(took, 'f', 6, 64)
	if a.ms > 0 {
		word += `,"ms":` + strconv.FormatFloat(a.ms, 'f', 3, 64)
	}
	if slot == 0 {
		atomic.AddInt64(&flying0, -1)
	} else {
		atomic.AddInt64(&flying1, -1)
	}
	g.counter.Write([]byte(word + "}"))
}
