/* The firmware without its board, on this computer: bytes with their times in, answers and latched patterns out.
 *
 * Input, numbers with the most significant byte first:
 *     'R'                                  power fails and comes back
 *     'B' u32 ms since the last, u16 n, n bytes
 *     'E'                                  flush; what has come out until now ends with 'E'
 * Output:
 *     'L' u16 n, n bytes                   latched
 *     'A' u16 n, n bytes                   answered
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"

static board the_board;
static uint8_t chain[BOARD_PATTERN_BYTES];

static void tell(int kind, const uint8_t *bytes, uint16_t count)
{
    putchar(kind);
    putchar(count >> 8);
    putchar(count & 0xFF);
    fwrite(bytes, 1, count, stdout);
}

static void latch(void *context, const uint8_t *pattern)
{
    (void)context;
    memcpy(chain, pattern, BOARD_PATTERN_BYTES);
    tell('L', pattern, BOARD_PATTERN_BYTES);
}

#if BOARD_CHAIN_RETURNS
static void read_chain(void *context, const uint8_t *pattern, uint8_t *found)
{
    (void)context;
    memcpy(found, chain, BOARD_PATTERN_BYTES);
    memcpy(chain, pattern, BOARD_PATTERN_BYTES);
}
#endif

static void power(void)
{
#if BOARD_CHAIN_RETURNS
    const board_port port = {latch, read_chain, NULL};
#else
    const board_port port = {latch, NULL, NULL};
#endif
    board_start(&the_board, &port);
}

static uint32_t number(int bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | (uint32_t)(getchar() & 0xFF);
    return value;
}

int main(void)
{
    uint32_t now_ms = 0xFFFFFF00u; /* millis() wraps around early */
    int kind;
    while ((kind = getchar()) != EOF) {
        if (kind == 'R') {
            power();
        } else if (kind == 'B') {
            uint32_t count;
            now_ms += number(4);
            for (count = number(2); count > 0; count--) {
                uint16_t length = board_take(&the_board, (uint8_t)getchar(), now_ms);
                if (length > 0)
                    tell('A', the_board.parser.bytes, length);
            }
        } else if (kind == 'E') {
            putchar('E');
            fflush(stdout);
        } else {
            return 1;
        }
    }
    return 0;
}
