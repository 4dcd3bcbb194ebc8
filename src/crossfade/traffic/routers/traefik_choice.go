// Package choice is what Traefik does with each request, interpreted inside it as a local plugin: read the
// line of the route file, choose a slot, count.
//
// The slot is written into a header of the request, by which a router of Traefik's finds the slot's
// service. The line and the services must never disagree: a generation of Traefik's configuration knows
// the instances that it was made with, and obeys only lines of exactly these.
package choice

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
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

const longest = 64 // as in buckets.py, like all of `bucket`

// Config is what Crossfade tells a generation.
type Config struct {
	SetUp, Line, File, Token, ProbeHeader, SlotHeader, OverrideHeader, StickyKind, StickyName string
	CookieAge, Counter                                                                         int
}

// line is the line of the route file in parts; slots are 0 (blue) and 1 (green).
type line struct {
	text, instances string
	share           uint64
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
	errNoJack = errors.New("this connection cannot be taken over")
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
	l := g.current()
	slot, given := g.choose(l, req)
	if token := req.Header.Get(g.told.ProbeHeader); token != "" && token == g.told.Token {
		g.tell(rw, l, slot)
		return
	}
	a := &answer{ResponseWriter: rw, began: began, cookie: given}
	if slot == 0 {
		atomic.AddInt64(&flying0, 1)
	} else {
		atomic.AddInt64(&flying1, 1)
	}
	defer g.ended(a, req, slot)
	if l == nil || !l.some[slot] {
		a.cookie = ""
		nobody(a)
	} else {
		route := slots[slot]
		if !harmless[req.Method] {
			route += "-once"
		}
		req.Header.Set(g.told.SlotHeader, route)
		g.next.ServeHTTP(a, req)
	}
	a.whole = true
}

// current is the newest line of this generation's own instances.
func (g *Generation) current() *line {
	found, err := os.ReadFile(g.told.File)
	g.lock.Lock()
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
	bytes := []byte(user)
	if len(user) > longest || !plain.MatchString(user) {
		bytes = normal(user)
	}
	state := binary.BigEndian.AppendUint32([]byte("fnv\x02"), basis)
	h := fnv.New32a()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic(err)
	}
	h.Write(bytes)
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
	bytes := make([]byte, len(characters))
	for place, character := range characters {
		bytes[place] = 1
		if character >= ' ' && character <= '~' {
			bytes[place] = byte(character)
		}
	}
	return bytes
}

// parse reads `400000 t=… k=… s=blue blue=1:10.0.0.1:80,,,; green=…; fence=7 …`; nil when it is no whole line.
func parse(text string) *line {
	parts := strings.Split(strings.TrimSuffix(text, "\n"), " ")
	if len(parts) != 9 || !strings.HasPrefix(parts[8], "points=") {
		return nil
	}
	share, err1 := strconv.ParseUint(strings.TrimPrefix(parts[1], "t="), 10, 64)
	basis, err2 := strconv.ParseUint(strings.TrimPrefix(parts[2], "k="), 10, 32)
	if err1 != nil || err2 != nil {
		return nil
	}
	l := &line{text: strings.TrimSuffix(text, "\n"), instances: parts[4] + parts[5], share: share, basis: uint32(basis)}
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
	status := a.status
	if !a.whole && !a.left && req.Context().Err() == nil {
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

// answer passes an answer on, and sees when it begins and what it says. Traefik does not find Flush on what is
// interpreted, so everything whose end is not known is flushed here, as it comes.
type answer struct {
	http.ResponseWriter
	began       time.Time
	cookie      string
	status      int
	ms          float64
	rest        int
	whole, left bool
}

func (a *answer) begin(status int) {
	a.status = status
	a.ms = time.Since(a.began).Seconds() * 1000
	if a.cookie != "" {
		a.Header().Add("Set-Cookie", a.cookie)
	}
}

// WriteHeader begins the answer, unless it is a word in between such as 103.
func (a *answer) WriteHeader(status int) {
	if status < 200 || a.status != 0 {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.begin(status)
	a.rest = -1
	if length := a.Header().Get("Content-Length"); length != "" {
		a.rest, _ = strconv.Atoi(length)
	}
	a.ResponseWriter.WriteHeader(status)
	if a.rest < 0 {
		a.flush()
	}
}

func (a *answer) Write(body []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(body)
	if err != nil {
		a.left = true
		return n, err
	}
	if a.rest > 0 {
		a.rest -= n
	}
	if a.rest != 0 {
		a.flush()
	}
	return n, nil
}

// Hijack is a websocket's beginning.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	taken, ok := a.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errNoJack
	}
	a.begin(http.StatusSwitchingProtocols)
	return taken.Hijack()
}

func (a *answer) flush() {
	if able, ok := a.ResponseWriter.(http.Flusher); ok {
		able.Flush()
	}
}
