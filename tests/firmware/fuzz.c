/* Fuzzing of the latched board's firmware: streams of frames, made and mutated, guided by what they reach in it.
 *
 *     fuzz SECONDS SEED
 *
 * The sanitizers find what a C program must not do. Beyond that, by code that shares nothing with the firmware:
 *
 * - a pattern is latched only at the end of a whole frame with right checks, without a silence in it, that sent this
 *   pattern, showed one that was stored so, or asked for the default one; and it changes in no other way;
 * - every answer is a whole frame with right checks, to the frame with right header that has just ended;
 * - after whatever it was, a frame behind as many zeros as the longest frame has bytes is carried out.
 *
 * Ends with status 1 and the stream if one does not hold. The firmware is compiled with
 * -fsanitize-coverage=trace-pc, this file is not. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "board.h"

#define STREAM 2048
#define CORPUS 2048
#define MAP 65536u

typedef struct {
    uint16_t size;
    uint8_t bytes[STREAM];
    uint8_t pause[STREAM]; /* before each byte, in units of 20 ms */
} stream;

static board the_board;
static stream current, best[CORPUS];
static unsigned corpus;
static uint64_t dice;
static uint16_t fed;       /* bytes of the current stream that the board has got */
static uint16_t unbroken;  /* the first of them after the last long silence */
static uint8_t shown[BOARD_PATTERN_BYTES], kept[BOARD_SEQUENCE][BOARD_PATTERN_BYTES], is_kept[BOARD_SEQUENCE];
static uint64_t streams, bytes, patterns, answers;

/* -- coverage ---------------------------------------------------------------------------------------------------- */

static uint8_t seen[MAP], here[MAP];
static uint16_t touched[MAP];
static unsigned touches;
static uintptr_t before;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    uint16_t place = (uint16_t)((pc ^ (pc >> 16)) * 0x9E37u ^ before);
    before = pc << 1;
    if (here[place] == 0)
        touched[touches++] = place;
    if (here[place] < 255)
        here[place]++;
}

/* Whether the stream went where none had gone before, or oftener by an order of two. */
static int was_new(void)
{
    int found = 0;
    while (touches > 0) {
        uint16_t place = touched[--touches];
        uint8_t order = here[place] < 2 ? 1 : here[place] < 4 ? 2 : here[place] < 16 ? 4 : here[place] < 128 ? 8 : 16;
        found |= (seen[place] & order) == 0;
        seen[place] |= order;
        here[place] = 0;
    }
    return found;
}

/* -- what must hold ---------------------------------------------------------------------------------------------- */

static void wrong(const char *what)
{
    unsigned n;
    printf("WRONG: %s, after %u bytes of the stream", what, fed);
    for (n = 0; n < current.size; n++)
        printf("%s%02x", current.pause[n] ? "\n" : " ", current.bytes[n]);
    printf("\n");
    exit(1);
}

/* The same CRC, from a table that is made by long division of polynomials. */
static uint16_t table[256];

static void make_table(void)
{
    unsigned byte, bit;
    for (byte = 0; byte < 256; byte++) {
        uint32_t rest = byte << 16;
        for (bit = 24; bit-- > 16;)
            if (rest >> bit & 1)
                rest ^= (uint32_t)0x11021 << (bit - 16);
        table[byte] = (uint16_t)rest;
    }
}

static uint16_t crc(const uint8_t *data, unsigned count)
{
    uint16_t sum = 0xFFFF;
    while (count-- > 0)
        sum = (uint16_t)(sum << 8 ^ table[sum >> 8 ^ *data++]);
    return sum;
}

static int right_header(const uint8_t *frame)
{
    return frame[0] == 0xA5 && frame[1] == 0x5A && (crc(frame + 2, 5) & 0xFF) == frame[7];
}

static int right_frame(const uint8_t *frame, unsigned size)
{
    return size >= 10 && right_header(frame) && size == 10u + frame[5] * 256u + frame[6]
           && crc(frame + 2, size - 4) == frame[size - 2] * 256u + frame[size - 1];
}

/* A whole, right frame of version 1 with this command that ends with the last byte and has this number; or NULL. */
static const uint8_t *sent(uint8_t command, unsigned payload)
{
    const uint8_t *frame = current.bytes + fed - 10 - payload;
    if (fed < unbroken + 10 + payload || !right_frame(frame, 10 + payload) || frame[2] != 1 || frame[3] != command)
        return NULL;
    return frame;
}

static void latch(void *context, const uint8_t *pattern)
{
    const uint8_t *set = sent(0x10, BOARD_PATTERN_BYTES), *show = sent(0x21, 2);
    uint8_t zeros[BOARD_PATTERN_BYTES] = {0};
    unsigned index = show ? show[8] * 256u + show[9] : 0;
    (void)context;
    patterns++;
    if (set && memcmp(set + 8, pattern, BOARD_PATTERN_BYTES) == 0)
        ;
    else if (show && index < BOARD_SEQUENCE && is_kept[index] && memcmp(kept[index], pattern, BOARD_PATTERN_BYTES) == 0)
        ;
    else if ((fed == 0 || sent(0x12, 0)) && memcmp(zeros, pattern, BOARD_PATTERN_BYTES) == 0)
        ;
    else
        wrong("latched a pattern that was not sent");
    memcpy(shown, pattern, BOARD_PATTERN_BYTES);
}

static void read_chain(void *context, const uint8_t *pattern, uint8_t *found)
{
    (void)context, (void)pattern;
    memcpy(found, shown, BOARD_PATTERN_BYTES);
}

static int answered(const uint8_t *answer, unsigned size)
{
    const uint8_t *store = sent(0x20, 2 + BOARD_PATTERN_BYTES);
    unsigned whole, found = 0;
    answers++;
    if (size > FRAME_BYTES || !right_frame(answer, size) || answer[2] != 1 || size < 12)
        wrong("an answer is no frame");
    /* Some right header lies as far back as its length says, or has just ended and asks for too much. */
    for (whole = 8; whole <= fed && whole <= FRAME_BYTES && !found; whole++) {
        const uint8_t *frame = current.bytes + fed - whole;
        unsigned asked = 10u + frame[5] * 256u + frame[6];
        found = right_header(frame) && fed - whole >= unbroken && (frame[3] | 0x80) == answer[3] && frame[4] == answer[4]
                && (asked == whole || (whole == 8 && asked > FRAME_BYTES));
    }
    if (!found)
        wrong("answered what nobody asked");
    if (answer[3] == 0xA0 && answer[8] == 0) {
        if (!store || store[8] * 256u + store[9] >= BOARD_SEQUENCE)
            wrong("stored what was not sent");
        memcpy(kept[store[8] * 256u + store[9]], store + 10, BOARD_PATTERN_BYTES);
        is_kept[store[8] * 256u + store[9]] = 1;
    } else if (answer[3] == 0x82 && answer[8] == 0) {
        if (!sent(0x02, 0))
            wrong("began although nobody asked");
        memset(is_kept, 0, sizeof is_kept);
    }
    return answer[8];
}

static void run(int ends_in_safe)
{
    static uint32_t now_ms = 0xFFF00000u; /* passes its end soon */
    const board_port port = {latch, BOARD_CHAIN_RETURNS ? read_chain : NULL, NULL};
    int last = -1;
    fed = unbroken = 0;
    memset(is_kept, 0, sizeof is_kept);
    before = 0;
    now_ms += 1000;
    board_start(&the_board, &port);
    while (fed < current.size) {
        uint16_t size;
        now_ms += current.pause[fed] * 20u;
        if (current.pause[fed] > 5)
            unbroken = fed;
        fed++;
        size = board_take(&the_board, current.bytes[fed - 1], now_ms);
        if (size > 0)
            last = answered(the_board.parser.bytes, size);
        if (the_board.parser.have >= FRAME_BYTES)
            wrong("the parser holds more than a frame");
        if (memcmp(the_board.pattern, shown, BOARD_PATTERN_BYTES) != 0)
            wrong("the pattern changed and was not latched");
    }
    if (ends_in_safe && (last != 0 || the_board.parser.have != 0 || !sent(0x12, 0)))
        wrong("not in step again after the longest frame");
    streams++;
    bytes += current.size;
}

/* -- streams ----------------------------------------------------------------------------------------------------- */

static uint32_t roll(uint32_t sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)(dice >> 32) % sides;
}

static void put(uint8_t byte)
{
    if (current.size < STREAM) {
        current.pause[current.size] = 0;
        current.bytes[current.size++] = byte;
    }
}

/* Make both checks right of the frame that may begin there. */
static void repair(unsigned at)
{
    uint8_t *frame = current.bytes + at;
    unsigned size;
    if (at + 10u > current.size)
        return;
    frame[0] = 0xA5;
    frame[1] = 0x5A;
    frame[7] = (uint8_t)crc(frame + 2, 5);
    size = 10u + frame[5] * 256u + frame[6];
    if (at + size <= current.size) {
        uint16_t sum = crc(frame + 2, size - 4);
        frame[size - 2] = (uint8_t)(sum >> 8);
        frame[size - 1] = (uint8_t)sum;
    }
}

static void put_frame(uint8_t command, int as_it_should_be)
{
    unsigned at = current.size, length = 0, n;
    switch (command) {
    case 0x10: length = BOARD_PATTERN_BYTES; break;
    case 0x20: length = 2 + BOARD_PATTERN_BYTES; break;
    case 0x21: length = 2; break;
    }
    if (!as_it_should_be)
        length = roll(2) ? roll(FRAME_PAYLOAD + 8) : length + roll(3) - 1u;
    put(0xA5);
    put(0x5A);
    put(as_it_should_be || roll(8) ? 1 : (uint8_t)roll(256));
    put(command);
    put((uint8_t)roll(3));
    put((uint8_t)(length >> 8));
    put((uint8_t)length);
    put(0);
    for (n = 0; n < (length & 0xFFFF) && n < STREAM; n++)
        put((uint8_t)(n < 2 && command >= 0x20 ? (n == 1 ? roll(BOARD_SEQUENCE + 2) : 0) : roll(4) ? roll(256) : 0xA5));
    if (length > 0 && roll(8))
        current.bytes[current.size - 1] &= 0xC0; /* bits that belong to no element */
    put(0);
    put(0);
    repair(at);
}

static void make(void)
{
    static const uint8_t commands[] = {0x01, 0x02, 0x10, 0x10, 0x11, 0x12, 0x20, 0x20, 0x21, 0x21};
    unsigned parts = 1 + roll(12), n;
    current.size = 0;
    while (parts-- > 0) {
        uint8_t command = roll(16) ? commands[roll(sizeof commands)] : (uint8_t)roll(256);
        unsigned at = current.size;
        switch (roll(8)) {
        case 0:
            for (n = roll(20); n > 0; n--)
                put((uint8_t)(roll(3) ? roll(256) : roll(2) ? 0xA5 : 0x5A));
            break;
        case 1:
            put_frame(command, 0);
            break;
        case 2: /* cut short */
            put_frame(command, 1);
            current.size = (uint16_t)(at + roll(current.size - at + 1u));
            break;
        case 3: /* the same again */
            put_frame(command, 1);
            for (n = current.size - at; n > 0; n--)
                put(current.bytes[at++]);
            break;
        default:
            put_frame(command, 1);
        }
    }
}

static void mutate(void)
{
    unsigned changes = 1 + roll(6);
    while (changes-- > 0 && current.size > 0) {
        unsigned at = roll(current.size), other = roll(current.size), n;
        switch (roll(8)) {
        case 0: current.bytes[at] ^= (uint8_t)(1u << roll(8)); break;
        case 1: current.bytes[at] = (uint8_t)roll(256); break;
        case 2: current.pause[at] = (uint8_t)(roll(2) ? 0 : 4 + roll(4)); break;
        case 3: repair(at); break;
        case 4: /* a frame that is there: other numbers, right checks */
            for (n = at; n + 10 < current.size && !(current.bytes[n] == 0xA5 && current.bytes[n + 1] == 0x5A); n++)
                ;
            if (n + 10 < current.size)
                current.bytes[n + 2 + roll(5)] = (uint8_t)(roll(2) ? roll(256) : roll(40)), repair(n);
            break;
        case 5: /* cut out */
            n = roll(current.size - at) + 1u;
            memmove(current.bytes + at, current.bytes + at + n, current.size - at - n);
            memmove(current.pause + at, current.pause + at + n, current.size - at - n);
            current.size = (uint16_t)(current.size - n);
            break;
        case 6: /* copy over */
            n = roll(40);
            if (at + n <= current.size && other + n <= current.size)
                memmove(current.bytes + at, current.bytes + other, n);
            break;
        default: /* the rest of another stream */
            if (corpus > 0) {
                const stream *rest = &best[roll(corpus)];
                if (at < rest->size) {
                    memcpy(current.bytes + at, rest->bytes + at, rest->size - at);
                    memcpy(current.pause + at, rest->pause + at, rest->size - at);
                    current.size = rest->size;
                }
            }
        }
    }
}

static void put_end(void)
{
    unsigned n;
    if (current.size > STREAM - FRAME_BYTES - 10u)
        current.size = (uint16_t)(STREAM - FRAME_BYTES - 10u);
    for (n = 0; n < FRAME_BYTES; n++)
        put(0);
    put_frame(0x12, 1);
}

int main(int count, char **given)
{
    double seconds = count > 1 ? atof(given[1]) : 1.0;
    struct timespec start, now;
    unsigned n, edges = 0;
    dice = (count > 2 ? strtoull(given[2], NULL, 10) : 1) * 0x9E3779B97F4A7C15u | 1u;
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_table();
    if (crc((const uint8_t *)"123456789", 9) != 0x29B1)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (n = 0; n < 256; n++) {
            uint16_t size;
            int ends_in_safe = roll(4) == 0;
            if (corpus == 0 || roll(3) == 0)
                make();
            else
                current = best[roll(corpus)];
            if (roll(3))
                mutate();
            size = current.size;
            if (ends_in_safe)
                put_end();
            run(ends_in_safe);
            if (was_new() && size > 0) {
                current.size = size;
                best[corpus < CORPUS ? corpus++ : roll(CORPUS)] = current;
            }
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec) < seconds);
    for (n = 0; n < MAP; n++)
        edges += seen[n] != 0;
    printf("streams %llu bytes %llu patterns %llu answers %llu corpus %u edges %u\n", (unsigned long long)streams,
           (unsigned long long)bytes, (unsigned long long)patterns, (unsigned long long)answers, corpus, edges);
    return 0;
}
