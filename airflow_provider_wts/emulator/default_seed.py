"""The objects that an emulator has from the start, in the form of a seed file."""

from __future__ import annotations

from typing import Any, Final

DEFAULT_SEED: Final[dict[str, Any]] = {
    "departments": [
        {"name": "Atendimento", "default": True, "description": "Primeiro contato"},
        {"name": "Vendas", "description": "Equipe comercial"},
        {"name": "Financeiro", "description": "Cobrança e pagamentos"},
    ],
    "channels": [
        {"name": "WhatsApp principal", "type": "CloudAPI_WhatsApp", "number": "+55|1140028922"},
        {"name": "Instagram da loja", "type": "Instagram", "handle": "@loja.exemplo"},
    ],
    "agents": [
        {
            "name": "Ana Souza",
            "email": "ana@exemplo.com.br",
            "phone": "+55|11988880001",
            "profile": "Admin",
            "departments": ["Atendimento", "Vendas"],
        },
        {
            "name": "Bruno Lima",
            "email": "bruno@exemplo.com.br",
            "phone": "+55|11988880002",
            "profile": "Agent",
            "departments": ["Financeiro"],
        },
    ],
    "tags": [
        {"name": "VIP", "color": "YELLOW_500"},
        {"name": "Inadimplente", "color": "RED_500"},
        {"name": "Newsletter", "color": "BLUE_500"},
    ],
    "custom_fields": [
        {"name": "Dados do cliente", "key": "dados-do-cliente", "type": "GROUP"},
        {"name": "CPF", "key": "cpf", "type": "STRING", "group": "dados-do-cliente"},
        {"name": "Data de nascimento", "key": "data-de-nascimento", "type": "DATE", "group": "dados-do-cliente"},
        {"name": "Limite de crédito", "key": "limite-de-credito", "type": "FLOAT"},
        {"name": "Plano", "key": "plano", "type": "SINGLESELECT", "options": ["Básico", "Completo"]},
    ],
    "portfolios": [
        {"name": "Carteira da Ana", "departments": ["Vendas"]},
        {"name": "Clientes especiais", "type": "MULTIPLE"},
    ],
    "templates": [
        {"name": "saudacao", "text": "Olá {{nome}}, tudo bem?", "params": ["nome"], "slug": "a1b2_saudacao"},
        {
            "name": "cobranca",
            "text": "Olá {{nome}}, sua fatura de {{valor}} vence em {{data}}.",
            "params": ["nome", "valor", "data"],
        },
        {"name": "pesquisa", "text": "De 0 a 10, quanto você nos recomendaria?"},
        {"name": "carrinho", "text": "Você deixou itens no carrinho. Posso ajudar?"},
        {"name": "codigo", "text": "{{1}} é o seu código de verificação.", "types": ["AUTHENTICATION"]},
        {"name": "em_revisao", "text": "Novidades da loja", "status": "InRevision"},
    ],
    "chatbots": [
        {
            "name": "Cobrança",
            "department": "Financeiro",
            "steps": [
                {
                    "message": "Olá {{contact.name}}, sua fatura {{metadata.fatura}} está em aberto.",
                    "template": "cobranca",
                },
                {"wait": 1},
                {"ask": "Você já fez o pagamento?", "save_as": "resposta", "timeout": 60},
                {"metadata": {"etapa": "encerrado"}},
                {"message": "Obrigado pelo retorno!", "template": "saudacao"},
                {"complete": {}},
            ],
        },
        {
            "name": "Pesquisa NPS",
            "steps": [
                {
                    "ask": "De 0 a 10, quanto você nos recomendaria?",
                    "save_as": "nps",
                    "template": "pesquisa",
                    "timeout": 60,
                },
                {"classification": {"category": "INFO", "description": "Pesquisa respondida"}},
                {"complete": {}},
            ],
        },
        {
            "name": "Carrinho abandonado",
            "department": "Vendas",
            "steps": [
                {"message": "Você deixou itens no carrinho. Posso ajudar?", "template": "carrinho"},
                {"wait": 3},
                {"complete": {"reactivate": True}},
            ],
        },
        {
            "name": "Falar com atendente",
            "department": "Atendimento",
            "steps": [
                {"message": "Já vou chamar alguém da equipe.", "template": "saudacao"},
                {"transfer": {"department": "Vendas"}},
            ],
        },
        {"name": "Boas-vindas", "type": "Reactive", "usage": []},
        {"name": "Cobrança antiga", "archived": True},
        {"name": "Rascunho de cobrança", "status": "NOT_PUBLISHED"},
        {"name": "Campanha manual", "usage": ["Manual"]},
    ],
    "sequences": [{"name": "Pós-venda"}, {"name": "Reativação"}],
    "panels": [
        {
            "title": "Funil de vendas",
            "key": "VENDAS",
            "type": "SALES",
            "steps": ["Novo", "Em negociação", "Fechado"],
            "tags": ["Urgente", "Grande conta"],
            "lost_reasons": ["Preço", "Sem resposta"],
            "custom_fields": [{"name": "Origem", "key": "origem", "type": "STRING"}],
        },
        {
            "title": "Tarefas",
            "key": "TAREFAS",
            "type": "MANAGEMENT",
            "steps": ["A fazer", "Fazendo", "Feito"],
            "tags": [],
        },
    ],
    "contacts": [
        {"name": "Carla Dias", "phone": "+55|11999990001", "email": "carla@exemplo.com.br", "tags": ["VIP"]},
        {"name": "Diego Alves", "phone": "+55|11999990002", "tags": ["Inadimplente"]},
        {"name": "Elisa Rocha", "phone": "+55|11999990003", "instagram": "@elisa.rocha"},
    ],
}
"""Default objects; every id is made from the emulator's seed and the object's name."""
