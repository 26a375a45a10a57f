/* The board around a simulated ATmega328P: a chain of shift registers on its SPI, its serial port on a
 * pseudo-terminal, by libsimavr. Tells on stdout, line by line:
 *
 *     port /dev/pts/3
 *     outputs 1               the registers' outputs are on
 *     latched 00ff            all outputs at once; the first digit's highest bit is QA of the first register
 *
 * Bits are shifted one at a time, in the order that the sketch asked the SPI for. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simavr/avr_ioport.h>
#include <simavr/avr_spi.h>
#include <simavr/avr_uart.h>
#include <simavr/parts/uart_pty.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define SPCR 0x4C
#define LSB_FIRST 0x20
#define OUTPUTS_OFF 1 /* D9 is PB1 */
#define LATCH 2       /* D10 is PB2 */

static avr_t *avr;
static int registers;   /* in the chain, of eight outputs each */
static uint8_t *chain;  /* their outputs, one byte a bit */

static void shifted(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    int lsb_first = avr->data[SPCR] & LSB_FIRST, n;
    uint8_t back = 0;
    (void)irq, (void)unused;
    for (n = 0; n < 8; n++) {
        int place = lsb_first ? n : 7 - n;
        back |= (uint8_t)(chain[8 * registers - 1] << place);
        memmove(chain + 1, chain, (size_t)(8 * registers - 1));
        chain[0] = value >> place & 1;
    }
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_SPI_GETIRQ(0), SPI_IRQ_INPUT), back);
}

static void latched(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    int n;
    (void)unused;
    if (!value || irq->value) /* the rising edge */
        return;
    printf("latched ");
    for (n = 0; n < 8 * registers; n += 4)
        printf("%x", chain[n] << 3 | chain[n + 1] << 2 | chain[n + 2] << 1 | chain[n + 3]);
    printf("\n");
}

static void switched(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    printf("outputs %d\n", !value);
}

int main(int count, char **given)
{
    elf_firmware_t firmware;
    static uart_pty_t port;
    uint32_t flags = 0;
    int state;
    memset(&firmware, 0, sizeof firmware);
    if (count != 3 || elf_read_firmware(given[1], &firmware) != 0)
        return 2;
    registers = atoi(given[2]);
    chain = calloc((size_t)registers, 8);
    if (registers < 1 || chain == NULL)
        return 2;
    memset(chain, 1, (size_t)registers * 8); /* anything may be in them when power comes on */
    setvbuf(stdout, NULL, _IOLBF, 0);
    strcpy(firmware.mmcu, "atmega328p");
    firmware.frequency = 16000000;
    avr = avr_make_mcu_by_name(firmware.mmcu);
    avr_init(avr);
    avr_load_firmware(avr, &firmware);
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)AVR_UART_FLAG_STDIO;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_SPI_GETIRQ(0), SPI_IRQ_OUTPUT), shifted, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), LATCH), latched, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), OUTPUTS_OFF), switched, NULL);
    uart_pty_init(avr, &port);
    uart_pty_connect(&port, '0');
    printf("port %s\n", port.pty.slavename);
    do
        state = avr_run(avr);
    while (state != cpu_Done && state != cpu_Crashed);
    return 1;
}
